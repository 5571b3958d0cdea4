"""Reading what a provider sent: a chunk's ``delta``, or a whole answer's ``message``, as a list of typed inputs.

Here lives the leniency: any JSON value in any place gives inputs, or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import orjson

from onwards_py.transcode.chat.call_table import CallDelta
from onwards_py.transcode.chat.reasoning_details import details_text
from onwards_py.transcode.neutral import lenient_json
from onwards_py.transcode.neutral.images import Image, read_image, read_images
from onwards_py.transcode.neutral.lenient_json import writable
from onwards_py.transcode.neutral.quirks import Quirks
from onwards_py.transcode.responses.reasoning_item import DEFAULT_FIELD


class ReasoningDelta(NamedTuple):
    """Reasoning; ``field``: the chat field of the text; ``details``: opaque pieces that came along, a list or None."""

    text: str
    field: str
    details: object = None


class TextDelta(NamedTuple):
    """Text, perhaps empty if there are annotations or log probabilities."""

    text: str
    logprobs: list[object]
    annotations: list[object]


class RefusalDelta(NamedTuple):
    """A part of a refusal."""

    text: str


_BESIDE_TEXT = ("refusal", "tool_calls", "function_call")
_NO_IDS = frozenset({"", "null", "None"})  # what becomes of a missing id in the hands of some (Mistral: "null")
_IMAGES = frozenset({"image_url", "input_image", "output_image", "image"})
_IMPOSSIBLE = -9999.0  # the log probability that stands for minus infinity

Input = ReasoningDelta | TextDelta | RefusalDelta | CallDelta | Image


def read_delta(delta: Mapping[str, object], logprobs: object, quirks: Quirks) -> list[Input]:
    """What ``delta`` says, in the order in which models say it: reasoning, text, refusal, calls."""
    inputs: list[Input] = []
    content = delta.get("content")
    reasoning = _reasoning(delta, quirks)
    if reasoning is not None:
        inputs.append(reasoning)
        if quirks.dedupe_reasoning and content == reasoning.text:
            content = None
    tokens = _logprobs(logprobs) if logprobs else []
    if content is None and tokens:
        content = ""  # not said is as good as empty
    if isinstance(content, str):
        # Of a character that takes several tokens all but the last come with empty text. Beside anything else the log
        # probabilities of empty text are those of something else.
        if content or (tokens and not inputs and not any(delta.get(name) for name in _BESIDE_TEXT)):
            inputs.append(TextDelta(content, tokens, []))
    elif content:
        inputs += _content_parts(content, tokens)
    if len(delta) > 1 or not inputs:
        inputs += _less_common(delta)
    return inputs


def _less_common(delta: Mapping[str, object]) -> Iterator[Input]:
    audio = delta.get("audio")
    if isinstance(audio, dict) and (transcript := _text(audio.get("transcript"))):
        yield TextDelta(transcript, [], [])
    if annotations := _annotations(delta.get("annotations")):
        yield TextDelta("", [], annotations)
    if refusal := _text(delta.get("refusal")):
        yield RefusalDelta(refusal)
    if images := delta.get("images"):
        yield from map(_shown, read_images(images))
    calls = delta.get("tool_calls")
    if "extra_content" in delta:
        yield _call({"extra_content": delta["extra_content"]})
    if calls:
        yield from _calls(calls)
    elif isinstance(legacy := delta.get("function_call"), dict):
        yield _call({"index": 0, "function": legacy})


def _reasoning(delta: Mapping[str, object], quirks: Quirks) -> ReasoningDelta | None:
    """One of the fields, never two of them: several providers send the same text under two names."""
    details = delta.get("reasoning_details") or delta.get("thinking_blocks")
    for name in quirks.reasoning_in:
        text = delta.get(name)
        if text and isinstance(text, str):
            return ReasoningDelta(text, name, details)
    if not isinstance(details, list) or not any(isinstance(piece, dict) for piece in details):
        return None
    return ReasoningDelta(details_text(details), DEFAULT_FIELD, details)


def _content_parts(content: object, logprobs: list[object]) -> Iterator[Input]:
    """Content as a list of parts (Mistral: thinking and text)."""
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str) and part:
            yield TextDelta(part, logprobs, [])
        elif isinstance(part, dict):
            yield from _content_part(part, logprobs)
            logprobs = []


def _content_part(part: Mapping[str, object], logprobs: list[object]) -> Iterator[Input]:
    if part.get("type") in ("thinking", "reasoning", "reasoning_text"):
        thinking = part.get("thinking") or part.get("text") or part.get("content")
        inner = thinking if isinstance(thinking, list) else [thinking]
        text = "".join(_text(piece.get("text") if isinstance(piece, dict) else piece) for piece in inner)
        if text:
            yield ReasoningDelta(text, DEFAULT_FIELD)
    elif refusal := _text(part.get("refusal")):
        yield RefusalDelta(refusal)
    elif part.get("type") in _IMAGES and (image := read_image(part)) is not None:
        yield _shown(image)
    else:
        text, annotations = _text(part.get("text")), _annotations(part.get("annotations"))
        if text or annotations:
            yield TextDelta(text, logprobs, annotations)


def _shown(image: Image) -> Input:
    """An image that is somewhere else cannot be given as its bytes: the text says where it is."""
    return image if image.result else TextDelta(f"![image]({image.url})", [], [])


def _calls(calls: object) -> Iterator[Input]:
    for entry in calls if isinstance(calls, list) else [calls]:
        if isinstance(entry, dict):
            call = _call(entry)
            if not call.empty or call.extra:
                yield call


def _call(entry: Mapping[str, object]) -> CallDelta:
    function = entry.get("function") or entry.get("custom") or entry
    if not isinstance(function, dict):
        function = {}
    arguments = function.get("arguments", function.get("input"))
    if isinstance(arguments, dict | list):
        arguments = _dumps(arguments)
    index, extra = entry.get("index"), entry.get("extra_content")
    return CallDelta(
        index if type(index) is int else None,
        "" if (id_ := _text(entry.get("id"))) in _NO_IDS else id_,
        _text(function.get("name")),
        _text(arguments),
        extra if isinstance(extra, dict) and writable(extra) else None,
    )


def _annotations(values: object) -> list[object]:
    """URL citations, the only kind that has a schema, in their flat form."""
    found: list[object] = []
    for value in values if isinstance(values, list) else []:
        citation = value.get("url_citation", value) if isinstance(value, dict) else None
        if isinstance(citation, dict) and (url := _text(citation.get("url"))):
            start, end = (_integer(citation.get(name)) for name in ("start_index", "end_index"))
            title = _text(citation.get("title"))
            found.append({"type": "url_citation", "start_index": start, "end_index": end, "url": url, "title": title})
    return found


def _logprobs(value: object) -> list[object]:
    """Token probabilities with every member that the schema wants: ``bytes`` and ``top_logprobs`` are never null."""
    tokens = value.get("content") if isinstance(value, dict) else None
    found: list[object] = []
    for token in tokens if isinstance(tokens, list) else []:
        if isinstance(token, dict):
            top = token.get("top_logprobs")
            alternatives = [_logprob(one) for one in (top if isinstance(top, list) else []) if isinstance(one, dict)]
            found.append({**_logprob(token), "top_logprobs": alternatives})
    return found


def _logprob(token: Mapping[str, object]) -> dict[str, object]:
    logprob, bytes_ = token.get("logprob"), token.get("bytes")
    return {
        "token": _text(token.get("token")),
        "logprob": logprob if isinstance(logprob, int | float) and not isinstance(logprob, bool) else _IMPOSSIBLE,
        "bytes": [_integer(byte) for byte in bytes_] if isinstance(bytes_, list) else [],
    }


def _dumps(value: object) -> str:
    try:
        return lenient_json.dumps(value).decode()
    except orjson.JSONEncodeError:
        return ""  # nested deeper than anything that can be said


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: object) -> int:
    return value if type(value) is int else 0
