"""The beginning of a 2xx answer: does it say something, or is it an error, or nothing at all? Pure.

A status of 200 is sent before a provider knows whether it can answer. Errors then come as the first event of a stream,
or after events that say no more than that there is a stream (``response.created``), or as a whole JSON body. This
file tells such openings from content, so that they can still be given up for another attempt.

It is lenient: whatever is not known to be an error, or to say nothing, is content.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, assert_never

import msgspec

from onwards_py.messages import Ending
from onwards_py.wire.error_codes import is_bare_error
from onwards_py.wire.error_status import error_status
from onwards_py.wire.sse import ServerSentEvent, SSEDecoder


class VerdictKind(Enum):
    """What an opening turned out to be."""

    CONTENT = "content"  # the answer has begun, or is of a kind that is not known here
    ERROR = "error"  # it says that it failed
    EMPTY = "empty"  # it ended well without having said anything
    CUT = "cut"  # it broke off before it had said anything


@dataclass(frozen=True, slots=True)
class Verdict:
    """``status``: the HTTP status that this amounts to; 200 for content. ``error``: what is told, if it is one: a
    decoded value."""

    kind: VerdictKind
    status: int
    error: object = field(default=None, compare=False)


CONTENT: Final = Verdict(VerdictKind.CONTENT, 200)
EMPTY: Final = Verdict(VerdictKind.EMPTY, 502)
CUT: Final = Verdict(VerdictKind.CUT, 502)
_CUT_BY_TIME: Final = Verdict(VerdictKind.CUT, 504)


class FirstContentDetector:
    """Judges the opening of one answer: ``feed`` until there is a verdict, or ``finish`` when the body is over.

    ``event_stream``: the content type is ``text/event-stream``; else the body is taken for one JSON document, which can
    be judged only as a whole. Once more than ``limit`` bytes came without a verdict, the answer counts as content.
    Bytes are read as they are: what has a content coding is not to be judged here.
    """

    __slots__ = ("_body", "_events", "_left", "_verdict")

    def __init__(self, event_stream: bool, limit: int) -> None:
        self._events = SSEDecoder(limit) if event_stream else None
        self._body: list[bytes] = []
        self._left = limit
        self._verdict: Verdict | None = None

    def feed(self, piece: bytes) -> Verdict | None:
        """Take the next bytes. None: more must be seen; else the verdict, which stays."""
        if self._verdict is None:
            # Only what lies within the limit is looked at, so that the verdict does not depend on how it was cut.
            within = piece if len(piece) <= self._left else piece[: self._left]
            if self._events is None:
                self._body.append(within)
            else:
                self._verdict = _first_verdict(self._events.feed(within))
            self._left -= len(within)
            if self._verdict is None and len(within) < len(piece):
                self._verdict = CONTENT
            if self._verdict is not None:
                self._body.clear()
        return self._verdict

    def finish(self, ending: Ending) -> Verdict:
        """The body is over: the verdict, whatever it is."""
        if self._verdict is None:
            self._verdict = self._last_verdict(ending)
            self._body.clear()
        return self._verdict

    def _last_verdict(self, ending: Ending) -> Verdict:
        if ending is Ending.DONE:
            if self._events is None:
                return _judge_body(b"".join(self._body))
            return _first_verdict(self._events.finish(ending)) or EMPTY
        if ending is Ending.IDLE or ending is Ending.LIMIT:
            return _CUT_BY_TIME
        if ending is Ending.EOF or ending is Ending.RESET or ending is Ending.CLIENT_GONE:
            return CUT
        assert_never(ending)


def _judge_body(body: bytes) -> Verdict:
    if not body.strip():
        return EMPTY
    value = _decode(body)
    if not isinstance(value, dict):
        return CONTENT
    return _error_in(value) or CONTENT


def _first_verdict(events: list[ServerSentEvent]) -> Verdict | None:
    for event in events:
        verdict = _judge_event(event)
        if verdict is not None:
            return verdict
    return None


def _judge_event(event: ServerSentEvent) -> Verdict | None:
    """None: the event says nothing yet."""
    data = event.data.strip()
    if data == b"[DONE]":
        return EMPTY
    value = _decode(data) if data else {}
    fields = value if isinstance(value, dict) else {}
    if event.name == b"error":
        return _error_in(fields) or _error(value)
    if not isinstance(value, dict):
        return CONTENT
    bare = is_bare_error(value)
    if event.name and "type" not in value:
        value["type"] = event.name.decode("utf-8", "replace")  # which may be the name of the error
    error = _error_in(value)
    if error is not None:
        return error
    if bare:
        return _error(value)
    return CONTENT if _has_content(value) else None


# Errors


def _error(told: object, around: dict[str, object] | None = None) -> Verdict:
    return Verdict(VerdictKind.ERROR, error_status(told, around), told if around is None else {**around, "error": told})


def _error_in(value: dict[str, object]) -> Verdict | None:
    """The error that a document or an event tells of, in any of its shapes. One that is null or empty is none."""
    telling = value.get("error") or _of_choices(value.get("choices"))
    if telling:
        return _error(telling, value)
    if value.get("object") == "error" or value.get("type") == "error":
        return _error(value)
    response = value if value.get("object") == "response" else value.get("response")
    if value.get("type") == "response.failed" or (isinstance(response, dict) and response.get("status") == "failed"):
        return _failed(response)
    exception = next((name for name in (value.get("type"), *value) if name in _EXCEPTIONS), None)
    if exception is not None and len(value) <= 2:
        return _error({"type": exception})
    return None


_EXCEPTIONS: Final = (
    "internalServerException",
    "modelStreamErrorException",
    "modelTimeoutException",
    "serviceUnavailableException",
    "throttlingException",
    "validationException",
)
"""What ends the streams of Bedrock, as gateways before it pass it on: the type of an event, or its only member."""


def _failed(response: object) -> Verdict:
    told = response.get("error") if isinstance(response, dict) else None
    return _error(told)


def _of_choices(choices: object) -> object:
    """The error of the first choice that has one, or that ended with one before it said anything (OpenRouter)."""
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        if choice.get("error"):
            return choice["error"]
        said = choice.get("delta") or choice.get("message")
        if choice.get("finish_reason") == "error" and not choice.get("text") and not _has_more_than(said, "role"):
            return "error"
    return None


# Content

_SILENT: Final = (
    "ping",
    "keepalive",
    "keep-alive",
    "heartbeat",
    "message_start",
    "content_block_stop",
    "response.created",
    "response.in_progress",
    "response.queued",
    "response.output_item.added",
    "response.content_part.added",
    "response.reasoning_summary_part.added",
)
"""Types of events that announce something, or keep a connection alive."""


def _has_content(event: dict[str, object]) -> bool:
    kind = event.get("type", "")
    if kind in _SILENT or not event:
        return False
    if "choices" in event:
        return _chunk_has_content(event["choices"])
    if kind == "content_block_start":
        return _has_more_than(event.get("content_block"), "type", "id", "name")
    if kind in ("content_block_delta", "message_delta"):
        return _has_more_than(event.get("delta"), "type")
    if isinstance(kind, str) and kind.startswith("response."):
        if kind.endswith(".delta"):
            return bool(event.get("delta"))
        if kind.endswith(".done"):
            return _done_event_has_content(event)
    return True


def _done_event_has_content(event: dict[str, object]) -> bool:
    """Of an event that ends a part of a response: was there anything in it? What fails is closed empty before."""
    for name in ("item", "part"):
        if event.get(name):
            return _has_more_than(event[name], "type", "id", "status", "role", "name", "call_id")
    said = [event[name] for name in ("text", "arguments", "refusal", "input") if name in event]
    return any(said) or not said


def _chunk_has_content(choices: object) -> bool:
    """Of a chunk: text, reasoning, a tool call, or a reason to end. A role says nothing, nor does usage."""
    if not isinstance(choices, list):
        return choices is not None
    for choice in choices:
        if not isinstance(choice, dict) or choice.get("finish_reason") or choice.get("text") or choice.get("message"):
            return True
        if _has_more_than(choice.get("delta"), "role"):
            return True
    return False


def _has_more_than(value: object, *names: str) -> bool:
    """True if an object has anything in members other than these."""
    if not isinstance(value, dict):
        return value is not None
    return any(held for name, held in value.items() if name not in names)


def _decode(data: bytes) -> object:
    """The JSON value; a value that is no object if it is none. Google's errors come as the one item of an array."""
    try:
        value: object = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if (
        isinstance(value, list)
        and len(value) == 1
        and isinstance(value[0], dict)
        and isinstance(value[0].get("error"), dict)
    ):
        return value[0]
    return value
