"""Taps that decode a copy of a response with a content coding, while its bytes pass unchanged."""

from __future__ import annotations

from onwards_py.messages import Ending
from onwards_py.wire.decoding import DECODABLE, ContentDecoder, Undecodable
from onwards_py.wire.first_content import CONTENT, FirstContentDetector, Verdict
from onwards_py.wire.response_head import ResponseFacts
from onwards_py.wire.usage import UsageScanner


def is_readable_sse(facts: ResponseFacts) -> bool:
    """True for Server-Sent Events without a content coding, or with one that can be decoded."""
    return facts.event_stream or (facts.coded_events and facts.coding in DECODABLE)


def usage_scanner_for(facts: ResponseFacts, limit: int) -> UsageScanner:
    """The scanner for a response. ``limit``: see `UsageScanner`."""
    return DecodingUsageScanner(limit, facts.coding) if facts.coding in DECODABLE else UsageScanner(limit)


def first_content_detector_for(facts: ResponseFacts, limit: int) -> FirstContentDetector:
    """The detector for a response. ``limit``: see `FirstContentDetector`."""
    if facts.coding in DECODABLE:
        return DecodingFirstContentDetector(facts.coded_events, limit, facts.coding)
    return FirstContentDetector(facts.event_stream, limit)


class DecodingUsageScanner(UsageScanner):
    """A `UsageScanner` of the decoded copy. The bytes are forwarded unchanged.

    ``seen`` counts decoded bytes.
    After a decoding error the response is ``undecodable``, and ``seen`` counts its bytes as they arrive.
    """

    __slots__ = ("_decoding", "_passed")

    def __init__(self, limit: int, coding: bytes) -> None:
        super().__init__(limit)
        self._decoding: ContentDecoder | None = ContentDecoder(coding)
        self._passed = 0

    @property
    def undecodable(self) -> bool:
        """See UsageScanner."""
        return self._decoding is None

    def feed(self, piece: bytes) -> bytes:
        """Return ``piece``."""
        self._passed += len(piece)
        if self._decoding is None:
            self.seen = max(self.seen, self._passed)
            return piece
        try:
            for part in self._decoding.parts(piece):
                super().feed(part)
        except Undecodable:
            self._decoding = None
            self.seen = max(self.seen, self._passed)
        return piece

    def tokens(self) -> int | None:
        """See UsageScanner. None after a decoding error."""
        return None if self.undecodable else super().tokens()


class DecodingFirstContentDetector(FirstContentDetector):
    """A `FirstContentDetector` of the decoded copy.

    Bytes that cannot be decoded count as content.
    More than ``limit`` bytes without a verdict, encoded or decoded, also count as content.
    """

    __slots__ = ("_coded_left", "_decoding")

    def __init__(self, event_stream: bool, limit: int, coding: bytes) -> None:
        super().__init__(event_stream, limit)
        self._decoding = ContentDecoder(coding)
        self._coded_left = limit

    def feed(self, piece: bytes) -> Verdict | None:
        """See FirstContentDetector."""
        if self._verdict is not None:
            return self._verdict
        within = piece if len(piece) <= self._coded_left else piece[: self._coded_left]
        self._coded_left -= len(within)
        try:
            for part in self._decoding.parts(within):
                if super().feed(part) is not None:
                    return self._verdict
        except Undecodable:
            self._verdict = CONTENT
        if len(within) < len(piece):
            self._verdict = CONTENT
        return self._verdict

    def finish(self, ending: Ending) -> Verdict:
        """See FirstContentDetector."""
        try:
            self._decoding.finish(ending)
        except Undecodable:
            self._verdict = self._verdict or CONTENT
        return super().finish(ending)
