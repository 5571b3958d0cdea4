"""``text.format`` to ``response_format``, as strong as the provider has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext, name_of
from onwards_py.transcode.neutral.quirks import Structured

_DEFAULT_NAME = "response"


@dataclass(frozen=True, slots=True)
class Format:
    """``response_format`` for the provider (None: send none), words for the system message, and the echo's material.

    ``echo``: the format in the Responses form, complete: type, and for a schema name, description, schema, strict.
    """

    response_format: dict[str, object] | None
    prompt: str
    echo: dict[str, object]


_TEXT = Format(None, "", {"type": "text"})


def read_format(request: Mapping[str, object], scope: TranslationContext) -> Format:
    """The format that is asked for; ``response_format`` is understood, too. Raises InvalidRequest."""
    text = request.get("text")
    form, where = (text.get("format"), "text.format") if isinstance(text, dict) else (None, "text.format")
    if form is None:
        form, where = request.get("response_format"), "response_format"
    if form is None:
        return _TEXT
    if not isinstance(form, dict):
        raise InvalidRequest(where, f"'{where}' must be an object, not {name_of(form)}.", "invalid_type")
    kind = form.get("type")
    if kind == "text":
        return _TEXT
    if kind == "json_object":
        return _json_object(where, scope)
    if kind == "json_schema":
        inner = form.get("json_schema")
        return _json_schema(inner if isinstance(inner, dict) else form, where, scope)
    if not isinstance(kind, str):
        raise InvalidRequest(f"{where}.type", f"'{where}.type' must be a string, not {name_of(kind)}.", "invalid_type")
    scope.unsupported(f"{where}.type", f"The format {kind!r} is not available for this model.")
    return _TEXT


def _json_object(where: str, scope: TranslationContext) -> Format:
    echo: dict[str, object] = {"type": "json_object"}
    if scope.quirks.structured is not Structured.NONE:
        return Format({"type": "json_object"}, "", echo)
    scope.unsupported(where, "JSON output is not available for this model.")
    return Format(None, "Answer with a single JSON object and nothing else.", echo)


def _json_schema(form: dict[str, object], where: str, scope: TranslationContext) -> Format:
    schema = form.get("schema")
    name, description, strict = form.get("name"), form.get("description"), form.get("strict")
    if not isinstance(schema, dict):
        raise InvalidRequest(
            f"{where}.schema", f"'{where}.schema' must be a JSON schema, not {name_of(schema)}.", "invalid_type"
        )
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequest(f"{where}.strict", f"'{where}.strict' must be a boolean.", "invalid_type")
    for member, value in (("name", name), ("description", description)):
        if value is not None and not isinstance(value, str):
            raise InvalidRequest(f"{where}.{member}", f"'{where}.{member}' must be a string.", "invalid_type")
    chat: dict[str, object] = {"name": name or _DEFAULT_NAME, "schema": schema}
    echo = {"type": "json_schema", **chat, "description": description, "strict": bool(strict)}
    if description is not None:
        chat["description"] = description
    if strict is not None:
        chat["strict"] = strict
    if scope.quirks.structured is Structured.JSON_SCHEMA:
        return Format({"type": "json_schema", "json_schema": chat}, "", echo)
    in_prompt = scope.quirks.structured is Structured.JSON_OBJECT and scope.quirks.schema_in_prompt
    if in_prompt and strict:
        scope.drop(f"{where}.strict")
    if not in_prompt:
        scope.unsupported(where, "Output by a JSON schema is not available for this model.")
    prompt = f"Answer with a single JSON object that matches this JSON schema:\n{orjson.dumps(schema).decode()}"
    weaker: dict[str, object] | None = None
    if scope.quirks.structured is Structured.JSON_OBJECT:
        weaker = {"type": "json_object"}
        prompt = prompt if in_prompt else ""
    return Format(weaker, prompt, echo)
