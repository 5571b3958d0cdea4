"""What the engine is asked and what it answers: plain data, and the error envelope."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from onwards_py.messages import WallClock

SERVER_ERRORS = 500
"""Statuses from here on are the server's doing."""

DONE = b"data: [DONE]\n\n"
"""The last event of every stream."""


@dataclass(frozen=True, slots=True)
class EchoRequest:
    """One request, and the world as far as an answer needs it.

    ``model`` is the name that answers carry. ``text``: answer with this instead of the echo.
    ``now`` gives seconds since the epoch. ``new_id`` gives an unused id that starts with its argument.
    """

    model: str
    body: bytes
    text: str | None
    now: WallClock
    new_id: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class CompleteAnswer:
    """A complete JSON answer. ``tokens``: how many of the body's words were generated."""

    body: bytes
    tokens: int = 0
    status: int = 200


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """An event stream, each element one whole event.

    ``words`` yields one event per generated word, ``tokens`` in all; ``opening`` goes before and
    ``closing`` after them. All are read once, in this order, so ``closing`` may read the clock late.
    """

    opening: Iterable[bytes]
    words: Iterable[bytes]
    closing: Iterable[bytes]
    tokens: int


class EchoError(Exception):
    """The request cannot be answered. ``param`` names the member at fault, if there is one."""

    def __init__(
        self, message: str, *, param: str | None = None, status: int = 400, code: str = "invalid_request"
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status
        self.code = code


def error_answer(refusal: EchoError) -> CompleteAnswer:
    """The OpenAI error envelope for a refusal: all four members are always there."""
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
    """The answer that stands for a failure of the provider (``error_status``)."""
    return error_answer(
        EchoError("This error was asked for by the configuration.", status=status, code="injected_error")
    )


def _error_type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= SERVER_ERRORS else "invalid_request_error"
