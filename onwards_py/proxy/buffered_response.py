"""A provider's response that is discarded for another attempt, with its complete body."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from onwards_py.proxy.attempt import Attempt
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.translate_response import send_error_of
from onwards_py.transcode.neutral.failure import from_body
from onwards_py.transports.responses import read_within
from onwards_py.wire.error_codes import may_be_refusal
from onwards_py.wire.redacted_error import replaced_error
from onwards_py.wire.response_decoding import LONGEST_ERROR, decoded_error

_SECONDS = 2.0


class BufferedResponse(msgspec.Struct, frozen=True):
    """A LastResponse. Not ``whole``: the proxy has created ``body``."""

    attempt: Attempt
    body: bytes
    whole: bool = True

    def codes(self, listed: Collection[str]) -> frozenset[str]:
        """The codes in an error, and the proxy's own codes for errors that are recognised by their text, such as
        context_length_exceeded. If no code is ``listed``, only content refusals matter, which few bodies can
        contain."""
        status, coding = self.attempt.response.head.status, self.attempt.facts.coding
        if status < 400 or not self.whole or not (listed or coding or may_be_refusal(self.body)):
            return frozenset()
        return from_body(status, decoded_error(coding, self.body), trusted=False).codes

    def send(self, exchange: Exchange, now: float) -> None:
        """See LastResponse."""
        attempt = self.attempt
        exchange.provider = attempt.endpoint.provider.name
        if attempt.translation is not None:
            send_error_of(attempt, self.body, now)
        else:
            exchange.pass_on(attempt.response.head, attempt.facts, self.body, now)


async def drain_body(attempt: Attempt) -> BufferedResponse:
    """Read a response that will be discarded, which frees its connection for the next attempt. If the body is too slow,
    too large or truncated, only the head is kept."""
    body = await read_within(attempt.response, LONGEST_ERROR, _SECONDS)
    if body is not None:
        return BufferedResponse(attempt, body)
    attempt.facts, body = replaced_error(attempt.facts)
    return BufferedResponse(attempt, body, whole=False)
