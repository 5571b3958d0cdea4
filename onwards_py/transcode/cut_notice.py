"""Appends an error event to a truncated native stream, in the API of that stream, before the connection is closed.

From an early close alone, a client cannot determine why the stream is incomplete, or whether to retry.
"""

from __future__ import annotations

import re
from dataclasses import replace
from http import HTTPStatus
from typing import Final

import orjson

from onwards_py.messages import Ending
from onwards_py.transcode.neutral.failure import Failure, cut_off
from onwards_py.wire.api import Api, api_of
from onwards_py.wire.rechunk import Rechunker

_NUMBER: Final = re.compile(rb'"sequence_number"[ \t]*:[ \t]*(\d{1,15})\b')
# After one of these events a stream is complete for its client, however the connection ends.
_ENDED: Final = re.compile(
    rb'(?:\A|[\r\n])data:[ \t]*(?:\[DONE\]|\{[ \t]*"error")'
    rb'|"type"[ \t]*:[ \t]*"(?:response\.(?:completed|incomplete|failed)|message_stop|error)"'
)
_ADVICE: Final = " What came before is not the whole answer; please try again."


class CutNotice:
    """Filter after ``rechunker``: bytes are forwarded unchanged; `text` is the event to append at their end.

    ``path`` (of the request) determines the API.
    """

    __slots__ = ("_last", "_path", "_rechunker")

    def __init__(self, path: bytes, rechunker: Rechunker) -> None:
        self._path = path
        self._rechunker = rechunker
        self._last = b""

    def feed(self, piece: bytes) -> bytes:
        """Return ``piece``. A piece with only comments does not change the state of the stream."""
        if piece and (piece[:1] != b":" or b"data:" in piece):
            self._last = piece
        return piece

    def finish(self, ending: Ending) -> bytes:  # noqa: ARG002  (Filter)
        """Returns no bytes: `feed` has returned all of them."""
        return b""

    def text(self, ending: Ending) -> bytes:
        """The event to append after ``ending``. Empty if the stream is complete, or if it stopped inside an event that
        was too large to be buffered: the appended event would complete that event."""
        if ending is Ending.DONE or ending is Ending.CLIENT_GONE or self._rechunker.mid_event:
            return b""
        return b"" if _ENDED.search(self._last) else self._event(cut_off(ending))

    def _event(self, failure: Failure) -> bytes:
        message = failure.message + _ADVICE
        api = api_of(self._path)
        if api is Api.RESPONSES:
            numbers = _NUMBER.findall(self._last)
            number = int(numbers[-1]) + 1 if numbers else 0
            event = {"type": "error", "code": failure.code, "message": message, "param": None}
            return b"event: error\ndata: %b\n\n" % orjson.dumps({**event, "sequence_number": number})
        if api is Api.MESSAGES:
            kind = "timeout_error" if failure.status == HTTPStatus.GATEWAY_TIMEOUT else "api_error"
            notice = {"type": "error", "error": {"type": kind, "message": message}}
            return b"event: error\ndata: %b\n\n" % orjson.dumps(notice)
        return b"data: %b\n\n" % orjson.dumps(replace(failure, message=message).envelope())
