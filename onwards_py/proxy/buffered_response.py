"""A provider's response that was given up for another attempt, with its whole body."""

from __future__ import annotations

import msgspec

from onwards_py.proxy.attempt import Attempt
from onwards_py.proxy.decode_response import decoded_error, read_within
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.redaction import replaced
from onwards_py.proxy.translate_response import send_error_of
from onwards_py.transcode.neutral.failure import from_body

_SECONDS = 2.0


class BufferedResponse(msgspec.Struct, frozen=True):
    """A LastResponse. Not ``whole``: ``body`` is the proxy's own."""

    attempt: Attempt
    body: bytes
    whole: bool = True

    @property
    def codes(self) -> frozenset[str]:
        """The codes in an error, and the proxy's own for errors that are known by their text, such as
        context_length_exceeded."""
        status = self.attempt.response.head.status
        if status < 400 or not self.whole:
            return frozenset()
        return from_body(status, decoded_error(self.attempt.facts.coding, self.body), trusted=False).codes

    def send(self, exchange: Exchange, now: float) -> None:
        """See LastResponse."""
        attempt = self.attempt
        exchange.provider = attempt.member.provider.name
        if attempt.translation is not None:
            send_error_of(attempt, attempt.translation, self.body, now)
        else:
            exchange.pass_on(attempt.response.head, attempt.facts, self.body, now)


async def drain_body(attempt: Attempt) -> BufferedResponse:
    """Read a response that is to be given up, which frees its connection for the next attempt. If the body is too slow,
    too large or cut, only the head is kept."""
    body = await read_within(attempt.response, _SECONDS)
    if body is not None:
        return BufferedResponse(attempt, body)
    attempt.facts, body = replaced(attempt.facts)
    return BufferedResponse(attempt, body, whole=False)
