"""The transport of the echo engine: round trips inside the process.

The other modules of this room make the responses.
This one adds delays, injected errors, truncated streams, and the provider's timeouts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from itertools import count, islice

from onwards_py.messages import BodySink, Ending, Fault, Fields, Filter, ResponseHead, WallClock
from onwards_py.model.provider import EchoSettings, Provider
from onwards_py.transports.base import OutboundRequest, TransportError
from onwards_py.transports.echo.answers import CompleteAnswer, EchoRequest, StreamedAnswer, injected_error
from onwards_py.transports.echo.pacer import Pacer
from onwards_py.transports.echo.routes import answer
from onwards_py.wire.own_head import reason_of
from onwards_py.wire.rechunk import EventTooLarge

Step = tuple[float, bytes]
"""A delay in seconds, and the bytes to send after it."""

_SLICE = 64 * 1024
_STEPS_PER_TURN = 32
"""Pieces that are sent in one turn of the event loop."""


class EchoTransport:
    """Answers inside the process.

    Errors are spread evenly, not at random: of the first n requests to one provider (by its identity),
    ``error_rate * n``, rounded down, get ``error_status``.
    Ids are numbered.
    """

    def __init__(self, clock: WallClock = time.time) -> None:
        self._clock = clock
        self._numbers = count(1)
        self._asked: dict[str, int] = {}
        self._live: set[Pacer] = set()

    async def send(self, provider: Provider, request: OutboundRequest) -> EchoResponse:
        """Return when a real provider's head would arrive: complete responses after all their words, streams at once.

        Raises TransportError for the first-byte timeout, or if the transport is closed meanwhile.
        """
        settings = provider.local
        assert isinstance(settings, EchoSettings), "other providers have another transport"
        if self._is_error_due(provider.identity, settings.error_rate):
            made: CompleteAnswer | StreamedAnswer = injected_error(settings.error_status)
        else:
            echo_request = EchoRequest(request.model, request.body, settings.text, self._clock, self._new_id)
            made = answer(request.method, request.target, echo_request)
        pacer = Pacer(provider.timeouts, self._live)
        if isinstance(made, StreamedAnswer):
            return _streamed(made, settings, pacer)
        await _work(pacer, _duration(made, settings))
        return _whole(made, settings, pacer)

    async def close(self) -> None:
        """Abort running responses: their bodies end with RESET."""
        for pacer in list(self._live):
            pacer.abort(Ending.RESET)

    def _is_error_due(self, identity: str, rate: float) -> bool:
        if rate <= 0:
            return False
        before = self._asked.get(identity, 0)
        self._asked[identity] = before + 1
        tolerance = 1e-9  # 0.29 * 100 is 28.999…
        return int((before + 1) * rate + tolerance) > int(before * rate + tolerance)

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers)}"


class EchoResponse:
    """A response of the echo. ``steps`` make the body, which then ends with ``ending``."""

    __slots__ = ("_ending", "_pacer", "_steps", "head", "length", "repeated")

    def __init__(
        self, head: ResponseHead, length: int | None, steps: Iterator[Step], ending: Ending, pacer: Pacer
    ) -> None:
        self.head = head
        self.repeated = False
        self.length = length
        self._steps = steps
        self._ending = ending
        self._pacer = pacer

    def complete_body(self) -> bytes | None:
        """Always None: the body is made while it is sent."""
        return None

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        """Send the body through the filters. Pauses while the client does not read."""
        downstream.set_source(self._pacer)
        ending = await self._run(lambda piece: _deliver(pipeline, piece, downstream), downstream.flush)
        rest = b""
        for each in pipeline:
            rest = (each.feed(rest) if rest else b"") + each.finish(ending)
        if rest:
            downstream.write(rest)
        return ending

    async def read(self, limit: int) -> bytes | None:
        """The whole body. None if it is longer than ``limit`` bytes or was truncated."""
        pieces: list[bytes] = []
        room = limit

        def keep(piece: bytes) -> bool:
            nonlocal room
            room -= len(piece)
            pieces.append(piece)
            return room >= 0

        ending = await self._run(keep, _nothing_to_flush)
        return b"".join(pieces) if ending is Ending.DONE else None

    def discard(self) -> None:
        """See UpstreamResponse.discard."""
        self._pacer.abort(Ending.LIMIT)
        self._pacer.close()

    async def _run(self, take: Callable[[bytes], bool], flush: Callable[[], None]) -> Ending:
        """Run the steps until they end, the response is aborted, or ``take`` returns False.

        ``flush`` is called before each wait, so that the head does not wait.
        """
        pacer, idle = self._pacer, self._pacer.timeouts.idle
        try:
            for number, (delay, piece) in enumerate(self._steps, 1):
                if delay > 0 or pacer.paused:
                    flush()
                    await pacer.wait(min(delay, idle))
                if pacer.ending is not None:
                    return pacer.ending
                if delay > idle:
                    return Ending.IDLE
                if not take(piece):
                    return Ending.LIMIT
                if number % _STEPS_PER_TURN == 0:
                    await asyncio.sleep(0)
            return self._ending
        finally:
            pacer.close()


def _nothing_to_flush() -> None:
    """`read` has no head to flush."""


def _deliver(pipeline: Sequence[Filter], piece: bytes, downstream: BodySink) -> bool:
    """Send one piece. False if an event in it is too large: then the bytes before that event were sent."""
    fits = True
    for each in pipeline:
        try:
            piece = each.feed(piece)
        except EventTooLarge as error:
            piece, fits = error.ready, False
        if not piece:
            return fits
    downstream.write(piece)
    return fits


async def _work(pacer: Pacer, seconds: float) -> None:
    """Wait for a complete response. Closes the pacer on failure."""
    if seconds <= 0:
        return
    first_byte = pacer.timeouts.first_byte
    try:
        await pacer.wait(min(seconds, first_byte))
    except BaseException:
        pacer.close()
        raise
    if pacer.ending is None and seconds <= first_byte:
        return
    pacer.close()
    if pacer.ending is Ending.RESET:
        raise TransportError(Fault.CLOSED, "the local engine was stopped")
    raise TransportError(Fault.FIRST_BYTE_TIMEOUT, f"the local engine takes {seconds:g} s")


def _duration(made: CompleteAnswer, settings: EchoSettings) -> float:
    """Seconds until all words are made. Errors come at once."""
    if made.status != HTTPStatus.OK:
        return 0.0
    return settings.first_token_delay + settings.token_delay * max(0, made.tokens - 1)


def _whole(made: CompleteAnswer, settings: EchoSettings, pacer: Pacer) -> EchoResponse:
    body = made.body
    fields: Fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    head = ResponseHead.of(made.status, reason_of(made.status), fields)
    ending = Ending.DONE
    if made.status == HTTPStatus.OK and _is_cut(settings, made.tokens):
        body, ending = body[: len(body) // 2], Ending.RESET
    return EchoResponse(head, len(made.body), _slices(body), ending, pacer)


def _streamed(made: StreamedAnswer, settings: EchoSettings, pacer: Pacer) -> EchoResponse:
    fields: Fields = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
    cut = _is_cut(settings, made.tokens)
    ending = Ending.RESET if cut else Ending.DONE
    return EchoResponse(ResponseHead.of(200, b"OK", fields), None, _events(made, settings, cut), ending, pacer)


def _slices(body: bytes) -> Iterator[Step]:
    for start in range(0, len(body), _SLICE):
        yield 0.0, body[start : start + _SLICE]


def _events(made: StreamedAnswer, settings: EchoSettings, cut: bool) -> Iterator[Step]:
    for event in made.opening:
        yield 0.0, event
    delay = settings.first_token_delay
    for event in islice(made.words, settings.cut_after):
        yield delay, event
        delay = settings.token_delay
    if not cut:
        for event in made.closing:
            yield 0.0, event


def _is_cut(settings: EchoSettings, tokens: int) -> bool:
    return settings.cut_after is not None and settings.cut_after <= tokens
