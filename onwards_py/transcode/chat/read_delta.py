"""Reading a chunk's ``delta``, or a whole answer's ``message``, as a list of typed fragments.

Invalid values never raise an exception; they give no fragments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from onwards_py.transcode.chat.reasoning import details_text
from onwards_py.transcode.neutral.deltas import Citation, Citations, RefusalDelta, TextDelta
from onwards_py.transcode.neutral.images import GeneratedImage, read_image, read_images
from onwards_py.transcode.neutral.lenient_json import dumps_text, writable
from onwards_py.transcode.neutral.logprobs import read_logprobs
from onwards_py.transcode.neutral.quirks import Quirks

DEFAULT_FIELD = "reasoning_content"


class ReasoningFragment(Struct, frozen=True):
    """Reasoning; ``field``: the chat field of the text; ``details``: opaque pieces sent with it, a list or None."""

    text: str
    field: str = DEFAULT_FIELD
    details: object = None


class CallFragment(Struct, frozen=True):
    """One entry of ``tool_calls``. ``slot``: its ``index``; None: it has no index.

    Missing or invalid strings are empty. ``extra``: members that the provider expects back with the call
    (``extra_content``, with Gemini's thought signatures), a dictionary or None.
    """

    slot: int | None
    id: str
    name: str
    arguments: str
    extra: dict[str, object] | None = None

    @property
    def empty(self) -> bool:
        """Whether the entry has no data of a call."""
        return not (self.id or self.name or self.arguments)


_LESS_COMMON = frozenset({"audio", "annotations", "refusal", "images", "extra_content"})
_BESIDE_TEXT = ("refusal", "tool_calls", "function_call")
_NO_IDS = frozenset({"", "null", "None"})  # how some providers write a missing id (Mistral: "null")
_IMAGES = frozenset({"image_url", "input_image", "output_image", "image"})

Fragment = TextDelta | RefusalDelta | Citations | ReasoningFragment | CallFragment | GeneratedImage


def read_delta(delta: Mapping[str, object], logprobs: object, quirks: Quirks) -> list[Fragment]:
    """The fragments in ``delta``, in the order in which models write them: reasoning, text, refusal, calls."""
    fragments: list[Fragment] = []
    content = delta.get("content")
    reasoning = _reasoning(delta, quirks) if len(delta) > 1 or content is None else None
    if reasoning is not None:
        fragments.append(reasoning)
        if quirks.dedupe_reasoning and content == reasoning.text:
            content = None
    tokens = read_logprobs(logprobs.get("content")) if logprobs and isinstance(logprobs, dict) else []
    if content is None and tokens:
        content = ""  # missing text with log probabilities counts as empty text
    if isinstance(content, str):
        # If a character consists of several tokens, all but the last one have empty text. Log probabilities beside
        # other members, such as reasoning or calls, belong to those members.
        if content or (tokens and not fragments and not any(delta.get(name) for name in _BESIDE_TEXT)):
            fragments.append(TextDelta(content, tokens))
    elif content:
        fragments += _content_parts(content, tokens)
    if len(delta) > 1 or not fragments:
        if not _LESS_COMMON.isdisjoint(delta):
            fragments += _less_common(delta)
        if calls := delta.get("tool_calls"):
            fragments += _calls(calls)
        elif isinstance(legacy := delta.get("function_call"), dict):
            fragments.append(_call({"index": 0, "function": legacy}))
    return fragments


def _less_common(delta: Mapping[str, object]) -> Iterator[Fragment]:
    audio = delta.get("audio")
    if isinstance(audio, dict) and (transcript := _text(audio.get("transcript"))):
        yield TextDelta(transcript)
    if citations := _citations(delta.get("annotations")):
        yield Citations(citations)
    if refusal := _text(delta.get("refusal")):
        yield RefusalDelta(refusal)
    if images := delta.get("images"):
        yield from map(_shown, read_images(images))
    if "extra_content" in delta:
        yield _call({"extra_content": delta["extra_content"]})


def _reasoning(delta: Mapping[str, object], quirks: Quirks) -> ReasoningFragment | None:
    """Reasoning from one of its fields only, because several providers send the same text in two fields."""
    details = delta.get("reasoning_details") or delta.get("thinking_blocks")
    for name in quirks.reasoning_in:
        text = delta.get(name)
        if text and isinstance(text, str):
            return ReasoningFragment(text, name, details)
    if not isinstance(details, list) or not any(isinstance(piece, dict) for piece in details):
        return None
    return ReasoningFragment(details_text(details), details=details)


def _content_parts(content: object, logprobs: list[dict[str, object]]) -> Iterator[Fragment]:
    """Content as a list of parts (Mistral: thinking and text)."""
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str) and part:
            yield TextDelta(part, logprobs)
        elif isinstance(part, dict):
            yield from _content_part(part, logprobs)
            logprobs = []


def _content_part(part: Mapping[str, object], logprobs: list[dict[str, object]]) -> Iterator[Fragment]:
    if part.get("type") in ("thinking", "reasoning", "reasoning_text"):
        thinking = part.get("thinking") or part.get("text") or part.get("content")
        inner = thinking if isinstance(thinking, list) else [thinking]
        text = "".join(_text(piece.get("text") if isinstance(piece, dict) else piece) for piece in inner)
        if text:
            yield ReasoningFragment(text)
    elif refusal := _text(part.get("refusal")):
        yield RefusalDelta(refusal)
    elif part.get("type") in _IMAGES and (image := read_image(part)) is not None:
        yield _shown(image)
    else:
        text, citations = _text(part.get("text")), _citations(part.get("annotations"))
        if text or (citations and logprobs):
            yield TextDelta(text, logprobs)
        if citations:
            yield Citations(citations)


def _shown(image: GeneratedImage) -> Fragment:
    """The image, or text with its URL if the answer does not contain its bytes."""
    return image if image.result else TextDelta(f"![image]({image.url})")


def _calls(calls: object) -> list[CallFragment]:
    entries = calls if isinstance(calls, list) else [calls]
    found = [_call(entry) for entry in entries if isinstance(entry, dict)]
    return [call for call in found if call.id or call.name or call.arguments or call.extra]


def _call(entry: Mapping[str, object]) -> CallFragment:
    function = entry.get("function") or entry.get("custom") or entry
    if not isinstance(function, dict):
        function = {}
    arguments = function.get("arguments", function.get("input"))
    if isinstance(arguments, dict | list):
        arguments = dumps_text(arguments)
    index, extra, id_, name = entry.get("index"), entry.get("extra_content"), entry.get("id"), function.get("name")
    return CallFragment(
        index if type(index) is int else None,
        id_ if isinstance(id_, str) and id_ not in _NO_IDS else "",
        name if isinstance(name, str) else "",
        arguments if isinstance(arguments, str) else "",
        extra if isinstance(extra, dict) and writable(extra) else None,
    )


def _citations(values: object) -> list[Citation]:
    """URL citations, flat or nested. Other kinds of citations have no schema."""
    found: list[Citation] = []
    for value in values if isinstance(values, list) else []:
        citation = value.get("url_citation", value) if isinstance(value, dict) else None
        if isinstance(citation, dict) and (url := _text(citation.get("url"))):
            start, end = (_integer(citation.get(name)) for name in ("start_index", "end_index"))
            found.append(Citation(start, end, url, _text(citation.get("title"))))
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: object) -> int:
    return value if type(value) is int else 0
