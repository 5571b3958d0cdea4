"""The beginning of a 2xx response: is it content, an error, or empty? Pure.

Some providers send the status 200 before they know whether they can answer.
Then an error comes as the first event of a stream, or after events without content (``response.created``), or as a
complete JSON body.
This module distinguishes such responses from content, so that another attempt can still replace them.

It is lenient: anything that is not known to be an error or empty is content.
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
    """What a response begins with."""

    CONTENT = "content"  # content, or a format that is not known here
    ERROR = "error"  # an error
    EMPTY = "empty"  # it is complete and has no content
    CUT = "cut"  # it was truncated before any content


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a detection."""

    kind: VerdictKind
    status: int
    """The HTTP status of such a response. 200 for content."""
    error: object = field(default=None, compare=False)
    """The decoded error, if it is one."""


CONTENT: Final = Verdict(VerdictKind.CONTENT, 200)
EMPTY: Final = Verdict(VerdictKind.EMPTY, 502)
CUT: Final = Verdict(VerdictKind.CUT, 502)
_CUT_BY_TIME: Final = Verdict(VerdictKind.CUT, 504)


class FirstContentDetector:
    """Finds the first content or error of one response: ``feed`` until there is a verdict, or ``finish`` at the end.

    ``event_stream``: the content type is ``text/event-stream``.
    Else the body is one JSON document, and its verdict needs all of it.
    After more than ``limit`` bytes without a verdict the response counts as content.
    The bytes must not have a content coding.
    """

    __slots__ = ("_body", "_events", "_left", "_verdict")

    def __init__(self, event_stream: bool, limit: int) -> None:
        self._events = SSEDecoder(limit) if event_stream else None
        self._body: list[bytes] = []
        self._left = limit
        self._verdict: Verdict | None = None

    def feed(self, piece: bytes) -> Verdict | None:
        """Take the next bytes. Returns the verdict, which is final. None: more bytes are needed."""
        if self._verdict is None:
            # Bytes beyond the limit are ignored, so that the verdict does not depend on how the body was cut.
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
        """The body has ended. Returns the verdict."""
        if self._verdict is None:
            self._verdict = self._last_verdict(ending)
            self._body.clear()
        return self._verdict

    def _last_verdict(self, ending: Ending) -> Verdict:
        if ending is Ending.DONE:
            if self._events is None:
                return _classify_body(b"".join(self._body))
            return _first_verdict(self._events.finish(ending)) or EMPTY
        if ending is Ending.IDLE or ending is Ending.LIMIT:
            return _CUT_BY_TIME
        if ending is Ending.EOF or ending is Ending.RESET or ending is Ending.CLIENT_GONE:
            return CUT
        assert_never(ending)


def _classify_body(body: bytes) -> Verdict:
    if not body.strip():
        return EMPTY
    value = _decode(body)
    if not isinstance(value, dict):
        return CONTENT
    return _error_in(value) or CONTENT


def _first_verdict(events: list[ServerSentEvent]) -> Verdict | None:
    for event in events:
        verdict = _classify_event(event)
        if verdict is not None:
            return verdict
    return None


def _classify_event(event: ServerSentEvent) -> Verdict | None:
    """None: the event has no content."""
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
        value["type"] = event.name.decode("utf-8", "replace")  # the event type may be the name of the error
    error = _error_in(value)
    if error is not None:
        return error
    if bare:
        return _error(value)
    return CONTENT if _has_content(value) else None


# Errors


def _error(error: object, around: dict[str, object] | None = None) -> Verdict:
    shown = error if around is None else {**around, "error": error}
    return Verdict(VerdictKind.ERROR, error_status(error, around), shown)


def _error_in(value: dict[str, object]) -> Verdict | None:
    """The error in a document or an event, in any of its shapes. A null or empty error is ignored."""
    error = value.get("error") or _error_of_choices(value.get("choices"))
    if error:
        return _error(error, value)
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
"""Errors that end streams of Bedrock, as gateways pass them on: the type of an event, or its only member."""


def _failed(response: object) -> Verdict:
    return _error(response.get("error") if isinstance(response, dict) else None)


def _error_of_choices(choices: object) -> object:
    """The error of the first choice that has one, or that ended with one before any content (OpenRouter)."""
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        if choice.get("error"):
            return choice["error"]
        message = choice.get("delta") or choice.get("message")
        if choice.get("finish_reason") == "error" and not choice.get("text") and not _has_more_than(message, "role"):
            return "error"
    return None


# Content

_TYPES_WITHOUT_CONTENT: Final = (
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
"""Types of events that announce content, or keep a connection alive."""


def _has_content(event: dict[str, object]) -> bool:
    kind = event.get("type", "")
    if kind in _TYPES_WITHOUT_CONTENT or not event:
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
    """True if the part of a response that this event ends had content. Parts of a failed response end empty."""
    for name in ("item", "part"):
        if event.get(name):
            return _has_more_than(event[name], "type", "id", "status", "role", "name", "call_id")
    texts = [event[name] for name in ("text", "arguments", "refusal", "input") if name in event]
    return any(texts) or not texts


def _chunk_has_content(choices: object) -> bool:
    """True if a chunk has text, reasoning, a tool call or a finish reason. A role or usage is not content."""
    if not isinstance(choices, list):
        return choices is not None
    for choice in choices:
        if not isinstance(choice, dict) or choice.get("finish_reason") or choice.get("text") or choice.get("message"):
            return True
        if _has_more_than(choice.get("delta"), "role"):
            return True
    return False


def _has_more_than(value: object, *names: str) -> bool:
    """True if an object has a value in members other than these."""
    if not isinstance(value, dict):
        return value is not None
    return any(member for name, member in value.items() if name not in names)


def _decode(data: bytes) -> object:
    """The JSON value. None for invalid JSON. Google sends errors as the only item of an array."""
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
