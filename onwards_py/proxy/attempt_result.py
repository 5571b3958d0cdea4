"""What an attempt leaves behind that did not serve the client: the error, and what can be sent if it was the last."""

from __future__ import annotations

from typing import Protocol

import msgspec

from onwards_py.errors import ProxyError
from onwards_py.proxy.decode_response import decoded_error, read_within
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.redaction import replaced
from onwards_py.proxy.translate import Translation, pass_on_error
from onwards_py.proxy.upstream_request import Answer
from onwards_py.transcode.neutral.failure import from_body

_SECONDS = 2.0


class LastResponse(Protocol):
    """An answer that nobody hoped for, but that may be all there is."""

    def send(self, exchange: Exchange, now: float) -> None:
        """Give it to the client."""
        ...


class AttemptFailed(msgspec.Struct, frozen=True):
    """An attempt that did not serve the client. ``proceed``: another may follow. ``last``: what to send if none does;
    None: ``error``."""

    error: ProxyError
    proceed: bool
    last: LastResponse | None = None


class BufferedResponse(msgspec.Struct, frozen=True):
    """A response that was given up for another attempt. Not ``whole``: ``body`` is ours."""

    answer: Answer
    body: bytes
    translation: Translation | None = None
    whole: bool = True

    @property
    def codes(self) -> frozenset[str]:
        """Those that an error calls itself by, and ours for what it says in words, such as context_length_exceeded."""
        status = self.answer.response.head.status
        if status < 400 or not self.whole:
            return frozenset()
        return from_body(status, decoded_error(self.answer.facts.coding, self.body), trusted=False).codes

    def send(self, exchange: Exchange, now: float) -> None:
        """See Sendable."""
        exchange.provider = self.answer.provider.name
        if self.translation is not None:
            pass_on_error(exchange, self.answer, self.body, self.translation, now)
        else:
            exchange.pass_on(self.answer.response.head, self.answer.facts, self.body, now)


async def drain_body(answer: Answer, translation: Translation | None) -> BufferedResponse:
    """Read a response that is to be given up; this also frees its connection for the next attempt (B59). Of one that
    is too slow, too large or cut only the head is kept."""
    body = await read_within(answer.response, _SECONDS)
    if body is not None:
        return BufferedResponse(answer, body, translation)
    facts, body = replaced(answer.facts)
    return BufferedResponse(Answer(answer.provider, answer.response, facts), body, translation, whole=False)
