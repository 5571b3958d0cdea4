"""Reading a copy of an answer that has a content coding, while its own bytes travel on as they are."""

from __future__ import annotations

from onwards_py.messages import Ending
from onwards_py.wire.decoding import DECODABLE, ContentDecoder, Undecodable
from onwards_py.wire.first_content import CONTENT, FirstContentDetector, Verdict
from onwards_py.wire.response_head import ResponseFacts
from onwards_py.wire.usage import UsageScanner


def is_readable_sse(facts: ResponseFacts) -> bool:
    """True of Server-Sent Events that can be read, if need be by undoing their coding."""
    return facts.event_stream or (facts.coded_events and facts.coding in DECODABLE)


def usage_scanner_for(facts: ResponseFacts, limit: int) -> UsageScanner:
    """What sees an answer pass by; ``limit`` as in `UsageScanner`."""
    return DecodingUsageScanner(limit, facts.coding) if facts.coding in DECODABLE else UsageScanner(limit)


def first_content_detector_for(facts: ResponseFacts, limit: int) -> FirstContentDetector:
    """What judges an answer's opening; ``limit`` as in `FirstContentDetector`."""
    if facts.coding in DECODABLE:
        return DecodingFirstContentDetector(facts.coded_events, limit, facts.coding)
    return FirstContentDetector(facts.event_stream, limit)


class DecodingUsageScanner(UsageScanner):
    """The same of what is coded: passes the bytes on as they are, and remembers what they say.

    ``seen`` counts decoded bytes. Once it shows that nothing can be decoded any more the answer counts as one that
    cannot be read (``undecodable``), and the bytes as they came count.
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
        """See UsageScanner. What was decoded before it broke off is not relied on."""
        return None if self.undecodable else super().tokens()


class DecodingFirstContentDetector(FirstContentDetector):
    """The same of what is coded. What cannot be decoded counts as content, as does an opening of which more than
    ``limit`` bytes came, or came to light, without a verdict."""

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
