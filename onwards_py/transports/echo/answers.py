"""Requests and responses of the echo engine: plain data, and the error envelope."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from onwards_py.messages import WallClock

SERVER_ERRORS = 500
"""Statuses from here on are server errors."""

DONE = b"data: [DONE]\n\n"
"""The last event of every stream."""


@dataclass(frozen=True, slots=True)
class EchoRequest:
    """One request, with the clock and the ids for its response."""

    model: str
    """The model's name in the response."""
    body: bytes
    text: str | None
    """The text of the response, instead of the echo."""
    now: WallClock
    new_id: Callable[[str], str]
    """Returns an unused id that begins with the argument."""


@dataclass(frozen=True, slots=True)
class CompleteAnswer:
    """A complete JSON response."""

    body: bytes
    tokens: int = 0
    """Generated words in the body."""
    status: int = 200


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """An event stream, each element one whole event.

    ``words`` yields one event per generated word, and their number is ``tokens``. The events of ``opening`` are sent
    before them, those of ``closing`` after them. ``closing`` is evaluated last, so it may read the clock then.
    """

    opening: Iterable[bytes]
    words: Iterable[bytes]
    closing: Iterable[bytes]
    tokens: int


class EchoError(Exception):
    """An invalid request. ``param`` names the member at fault, if there is one."""

    def __init__(
        self, message: str, *, param: str | None = None, status: int = 400, code: str = "invalid_request"
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status
        self.code = code


def error_answer(refusal: EchoError) -> CompleteAnswer:
    """The OpenAI error envelope, always with all four members."""
    envelope = {
        "error": {
            "message": refusal.message,
            "type": _error_type(refusal.status),
            "param": refusal.param,
            "code": refusal.code,
        }
    }
    return CompleteAnswer(orjson.dumps(envelope), status=refusal.status)


def injected_error(status: int) -> CompleteAnswer:
    """The response for an injected error (``error_status``)."""
    return error_answer(
        EchoError("This error was asked for by the configuration.", status=status, code="injected_error")
    )


def _error_type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= SERVER_ERRORS else "invalid_request_error"
