"""Checks and repairs of requests that do not depend on the API."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from onwards_py.transcode.neutral.content import Audio
from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext
from onwards_py.transcode.neutral.request import ToolChoice

MODES = ("none", "auto", "required")
"""The words that ``tool_choice`` may be."""


def apply_quirks(made: dict[str, object], context: TranslationContext) -> None:
    """Add the fields that a provider requires, and remove those that it does not accept."""
    for name, value in context.quirks.extra.items():
        made.setdefault(name, value)
    for name in context.quirks.drop & made.keys():
        del made[name]
        context.drop(name)


def check_size(data: str, where: str, context: TranslationContext) -> None:
    """Check that an inline image, file or sound does not exceed the operator's limit. Raises InvalidRequest."""
    if len(data) > context.policy.max_part:
        raise InvalidRequest(
            where, f"'{where}' is longer than {context.policy.max_part} characters.", "string_above_max_length"
        )


def object_schema(parameters: Mapping[str, object]) -> dict[str, object]:
    """A tool's ``parameters`` as providers require them: a JSON schema whose root has ``type: object``.

    OpenAI, vLLM and others reject a root without it (MCP servers and zod omit it beside ``anyOf`` or ``$ref``). A root
    of another type is the client's error, and is sent unchanged, so that the provider reports it.
    """
    kind = parameters.get("type")
    if not parameters:
        return {"type": "object", "properties": {}}
    if kind == "object" or not (kind is None or kind == "None" or (isinstance(kind, list) and "object" in kind)):
        return dict(parameters)
    return {**parameters, "type": "object"}


def refuse_empty(content: object, where: str) -> None:
    """Reject an empty array of content parts, as providers do. Raises InvalidRequest."""
    if content == []:
        raise InvalidRequest(where, f"'{where}' must have at least one part.", "empty_array")


def lone_text(part: object, kinds: Collection[str]) -> str | None:
    """The text of a text part without other members; else None. ``kinds``: the types of text parts."""
    if not isinstance(part, dict) or part.get("type") not in kinds or "cache_control" in part:
        return None
    text = part.get("text")
    return text if isinstance(text, str) else None


def read_audio(part: Mapping[str, object], where: str, context: TranslationContext) -> Audio | None:
    """An ``input_audio`` part, which both of OpenAI's APIs have in the same form. Raises InvalidRequest."""
    audio = part.get("input_audio")
    if not isinstance(audio, dict) or not isinstance(audio.get("data"), str):
        raise InvalidRequest(f"{where}.input_audio", f"'{where}.input_audio' must be an object with data and format.")
    if not context.quirks.audio:
        context.unsupported(where, "This model takes no audio.")
        return None
    check_size(audio["data"], f"{where}.input_audio.data", context)
    return Audio(audio)


def read_mode(mode: object, where: str, offers: bool) -> ToolChoice:
    """A ``tool_choice`` that is a word. ``offers``: the request offers tools. Raises InvalidRequest."""
    if mode not in MODES:
        raise InvalidRequest(where, f"'{where}' must be one of {', '.join(MODES)} or an object.")
    if mode == "required" and not offers:
        raise InvalidRequest(where, f"'{where}' is 'required', but there are no tools.")
    return ToolChoice(str(mode))
