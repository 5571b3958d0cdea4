"""The tokens of one exchange: estimated at its admission, counted from the response, charged at its end."""

from __future__ import annotations

from typing import Final

import msgspec

from onwards_py.wire.decoding_tap import is_readable_sse, usage_scanner_for
from onwards_py.wire.response_head import ResponseFacts
from onwards_py.wire.usage import UsageScanner, total_tokens_in

_TAIL: Final = 16 * 1024  # bytes after the usage: little more than the metadata of a response, 16 times 576 bytes
# Approximate bytes per token in a response without usage: as text, and as a complete chunk of a stream.
_OF_TEXT: Final = 4
_OF_AN_EVENT: Final = 200


def estimate_of(body: bytes) -> int:
    """Tokens of a prompt, estimated from the request's body."""
    return (len(body) >> 2) + 1


class TokenMeter(msgspec.Struct, gc=False):
    """``estimate``: tokens that were charged at the admission, for the prompt. ``used``: the tokens to charge in total.

    ``scanner`` reads the usage while a body is forwarded. ``facts`` and ``body`` belong to a complete response,
    which is read at the end of the exchange, after it was sent.
    """

    estimate: int
    used: int = 0
    scanner: UsageScanner | None = None
    bytes_per_token: int = 1
    facts: ResponseFacts | None = None
    body: bytes = b""

    def scan(self, facts: ResponseFacts, *, decoded: bool = False) -> UsageScanner:
        """A filter that reads the usage while the body is forwarded; ``decoded``: the body has already been decoded."""
        self.scanner = scanner = UsageScanner(_TAIL) if decoded else usage_scanner_for(facts, _TAIL)
        self.bytes_per_token = _OF_AN_EVENT if is_readable_sse(facts) else _OF_TEXT
        return scanner

    def charge(self, status: int, complete: bool, left: bool) -> int:
        """Tokens to charge beyond the estimate, at the end of the exchange. An error is free. ``complete``: the client
        has got the whole response. ``left``: the client left before the response, which must not evade the limit, so
        the prompt is charged."""
        facts = self.facts
        if status >= 400:
            self.used = 0
        elif facts is not None and not facts.coding:
            used = total_tokens_in(self.body)
            self.used = self.estimate + len(self.body) // _OF_TEXT if used is None else used
        elif facts is not None:
            scanner = self.scan(facts)
            scanner.feed(self.body)
            self.used = self._scanned(scanner, complete)
        elif self.scanner is not None:
            self.used = self._scanned(self.scanner, complete)
        elif left:
            self.used = self.estimate
        return self.used - self.estimate

    def _scanned(self, scanner: UsageScanner, complete: bool) -> int:
        used = scanner.tokens()
        if used is not None and complete:
            return used
        # In a truncated stream, the usage at the beginning is incomplete.
        per_token = _OF_TEXT if scanner.undecodable else self.bytes_per_token
        return max(used or 0, self.estimate + scanner.seen // per_token)
