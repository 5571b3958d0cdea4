"""The echo transport: the time of each write, backpressure, and cut responses."""

from __future__ import annotations

import asyncio
import json

import pytest
from echo_helpers import (
    NOW,
    Driven,
    Recorder,
    VirtualLoop,
    chat_request,
    documents,
    play,
    provider,
    request,
)

from onwards_py.messages import Ending, Fault
from onwards_py.model.provider import EchoSettings, Timeouts
from onwards_py.transports.base import TransportError
from onwards_py.transports.echo.transport import EchoResponse, EchoTransport
from onwards_py.wire.rechunk import Rechunker

SLOW = EchoSettings(first_token_delay=2.0, token_delay=0.5)


def transport() -> EchoTransport:
    return EchoTransport(clock=lambda: NOW)


async def opened(settings: EchoSettings, text: str, *, timeouts: Timeouts | None = None, stream: bool) -> EchoResponse:
    return await transport().send(provider(settings, timeouts), chat_request(text, stream=stream))


def fields(response: EchoResponse) -> dict[bytes, bytes]:
    return dict(response.head.fields)


def test_whole_answer_announces_its_length_and_type() -> None:
    """The head has 200 OK, JSON, and a Content-Length that equals both ``length`` and the size of the body."""

    async def scenario(loop: VirtualLoop) -> None:
        response = await opened(EchoSettings(), "hi", stream=False)
        recorder = Recorder()
        assert await response.pump([], recorder) is Ending.DONE
        assert (response.head.status, response.head.reason) == (200, b"OK")
        assert fields(response)[b"content-type"] == b"application/json"
        assert response.length == len(recorder.body) == int(fields(response)[b"content-length"])

    play(scenario)


def test_stream_announces_an_event_stream_without_length() -> None:
    """The head has no length, a type with UTF-8, and forbids caching."""

    async def scenario(loop: VirtualLoop) -> None:
        response = await opened(EchoSettings(), "hi", stream=True)
        assert response.length is None
        assert response.head.fields == [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
        ]
        response.discard()

    play(scenario)


def test_without_delays_no_timer_is_made() -> None:
    """Plain echo never uses the clock, complete or streamed."""

    async def scenario(loop: VirtualLoop) -> None:
        for stream in (False, True):
            response = await opened(EchoSettings(), "one two three", stream=stream)
            assert await response.pump([], Recorder()) is Ending.DONE
        assert loop.timers == []

    play(scenario)


def test_whole_answer_comes_after_all_its_words() -> None:
    """With two seconds before the first word and half a second before each of the two others, the head comes at 3 s."""

    async def scenario(loop: VirtualLoop) -> None:
        response = await opened(SLOW, "one two three", stream=False)
        assert loop.time() == 3.0
        response.discard()

    play(scenario)


def test_stream_starts_at_once_and_spaces_its_words() -> None:
    """Head and role chunk come at 0 s, the words every half second from 2 s on, and the rest with the last word."""

    async def scenario(loop: VirtualLoop) -> None:
        response = await opened(SLOW, "one two three", stream=True)
        recorder = Recorder()
        assert await response.pump([], recorder) is Ending.DONE
        assert recorder.times == [0.0, 2.0, 2.5, 3.0, 3.0, 3.0]
        assert recorder.words == ["one ", "two ", "three"]

    play(scenario)


def test_head_does_not_wait_for_the_first_word() -> None:
    """A stream without a role chunk flushes the head before its first wait. Without waits this is not needed."""

    async def scenario(loop: VirtualLoop) -> None:
        for settings, flushed_at in ((SLOW, 0.0), (EchoSettings(), None)):
            body = {"prompt": "one two", "stream": True}
            response = await transport().send(provider(settings), request(b"/v1/completions", body))
            recorder = Recorder()
            await response.pump([], recorder)
            assert recorder.flushed_at == flushed_at

    play(scenario)


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_paused_stream_sends_no_event(stop_after: int) -> None:
    """While the client does not read, no event is sent, with delays or without. After that the rest is sent."""

    async def scenario(loop: VirtualLoop) -> None:
        for settings in (EchoSettings(), SLOW):
            response = await opened(settings, "one two three", stream=True)
            recorder = Recorder(stop_after)
            pumping = Driven(response.pump([], recorder))
            await asyncio.sleep(60)
            assert len(recorder.pieces) == stop_after
            assert recorder.source is not None
            recorder.source.resume_reading()
            await asyncio.sleep(60)
            assert pumping.result is Ending.DONE
            assert recorder.words == ["one ", "two ", "three"]

    play(scenario)


def test_large_whole_answer_can_be_paused() -> None:
    """A complete answer is sent in slices, and stops between them while the client does not read."""

    async def scenario(loop: VirtualLoop) -> None:
        response = await opened(EchoSettings(text="x" * 300_000), "hi", stream=False)
        recorder = Recorder(stop_after=1)
        pumping = Driven(response.pump([], recorder))
        await asyncio.sleep(60)
        assert len(recorder.body) < 100_000
        assert recorder.source is not None
        recorder.source.resume_reading()
        await asyncio.sleep(0)
        assert pumping.result is Ending.DONE
        assert response.length == len(recorder.body)

    play(scenario)


@pytest.mark.parametrize("after", [0.0, 1.0, 2.2])
def test_cancelled_stream_stops_at_once(after: float) -> None:
    """After a cancellation before or between words, there is no further write or wait."""

    async def scenario(loop: VirtualLoop) -> None:
        response = await opened(SLOW, "one two three", stream=True)
        recorder = Recorder()
        pumping = Driven(response.pump([], recorder))
        await asyncio.sleep(after)
        sent = len(recorder.pieces)
        pumping.task.cancel()
        assert pumping.task.done
        assert loop.pending_timers == 0
        await asyncio.sleep(60)
        assert len(recorder.pieces) == sent
        assert pumping.result is None

    play(scenario)


def test_cancelled_while_paused_or_between_turns() -> None:
    """A pause and the yield within a long answer can be cancelled like any other wait."""

    async def scenario(loop: VirtualLoop) -> None:
        for recorder in (Recorder(stop_after=2), Recorder()):
            response = await opened(EchoSettings(), "word " * 1000, stream=True)
            pumping = Driven(response.pump([], recorder))
            assert not pumping.task.done
            pumping.task.cancel()
            sent = len(recorder.pieces)
            assert recorder.source is not None
            recorder.source.resume_reading()
            await asyncio.sleep(1)
            assert pumping.task.done
            assert len(recorder.pieces) == sent < 100

    play(scenario)


def test_cancelled_before_the_head_leaves_no_timer() -> None:
    """A cancelled answer also cancels its timers, including the one for the total time."""

    async def scenario(loop: VirtualLoop) -> None:
        sending = Driven(opened(SLOW, "one two", timeouts=Timeouts(total=50.0), stream=False))
        assert loop.pending_timers == 2
        sending.task.cancel()
        assert loop.pending_timers == 0

    play(scenario)


def test_long_answer_lets_others_run() -> None:
    """A thousand words without delay take many turns of the event loop."""

    async def scenario(loop: VirtualLoop) -> None:
        response = await opened(EchoSettings(), "word " * 1000, stream=True)
        pumping = Driven(response.pump([], Recorder()))
        turns = 0
        while not pumping.task.done:
            turns += 1
            await asyncio.sleep(0)
        assert turns > 20

    play(scenario)


def errors_among(rate: float, requests: int) -> list[int]:
    """The numbers (from 1) of the requests that get the injected status."""

    async def scenario(loop: VirtualLoop) -> list[int]:
        local, settings = transport(), EchoSettings(error_rate=rate, error_status=503)
        failed = []
        for number in range(1, requests + 1):
            response = await local.send(provider(settings), chat_request("hi"))
            response.discard()
            if response.head.status == 503:
                failed.append(number)
        return failed

    return play(scenario)


@pytest.mark.parametrize(
    ("rate", "failed"),
    [(0.0, []), (1.0, list(range(1, 11))), (0.5, [2, 4, 6, 8, 10]), (0.3, [4, 7, 10]), (0.1, [10])],
)
def test_errors_are_spread_evenly(rate: float, failed: list[int]) -> None:
    """An error is due whenever the sum of the rates passes a whole number."""
    assert errors_among(rate, 10) == failed


def test_error_rate_is_met_exactly_over_a_hundred() -> None:
    """0.29 times 100 is a little less than 29 in binary, but 29 errors are expected."""
    assert len(errors_among(0.29, 100)) == 29


def test_errors_are_counted_for_each_provider() -> None:
    """Requests of one provider do not count for another. A new provider object continues the count."""

    async def scenario(loop: VirtualLoop) -> None:
        local, half = transport(), EchoSettings(error_rate=0.5)
        seen = []
        for identity in ("a", "b", "a", "b"):
            response = await local.send(provider(half, identity=identity), chat_request("hi"))
            response.discard()
            seen.append(response.head.status)
        assert seen == [200, 200, 500, 500]

    play(scenario)


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (429, b"Too Many Requests", "rate_limit_error"),
        (400, b"Bad Request", "invalid_request_error"),
        (529, b"", "server_error"),
    ],
)
def test_injected_error_comes_at_once_in_the_envelope(status: int, reason: bytes, kind: str) -> None:
    """It has no delay, no cut, and the four members of the error envelope. An unknown status has no reason."""

    async def scenario(loop: VirtualLoop) -> None:
        settings = EchoSettings(error_rate=1.0, error_status=status, first_token_delay=5.0, cut_after=0)
        response = await transport().send(provider(settings), chat_request("hi", stream=True))
        assert (response.head.status, response.head.reason) == (status, reason)
        body = await response.read(10_000)
        assert body is not None
        error = json.loads(body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert (error["type"], error["code"], loop.time()) == (kind, "injected_error", 0.0)

    play(scenario)


@pytest.mark.parametrize("cut_after", [0, 1, 3])
def test_stream_is_cut_after_its_words(cut_after: int) -> None:
    """RESET follows the configured number of words, without a finish chunk and [DONE], even after the last word."""

    async def scenario(loop: VirtualLoop) -> None:
        recorder = Recorder()
        response = await opened(EchoSettings(cut_after=cut_after), "one two three", stream=True)
        assert await response.pump([], recorder) is Ending.RESET
        assert recorder.words == ["one ", "two ", "three"][:cut_after]
        assert b"[DONE]" not in recorder.body
        assert all(chunk["choices"][0]["finish_reason"] is None for chunk in documents(recorder.pieces))

    play(scenario)


def test_whole_answer_is_cut_inside_its_body() -> None:
    """The announced length is that of the complete body. A part of it comes, then RESET."""

    async def scenario(loop: VirtualLoop) -> None:
        recorder = Recorder()
        response = await opened(EchoSettings(cut_after=2), "one two three", stream=False)
        assert await response.pump([], recorder) is Ending.RESET
        assert response.length is not None
        assert 0 < len(recorder.body) < response.length

    play(scenario)


def test_answer_shorter_than_the_cut_is_whole() -> None:
    """``cut_after`` above the number of words does not cut the answer."""

    async def scenario(loop: VirtualLoop) -> None:
        for stream in (False, True):
            response = await opened(EchoSettings(cut_after=4), "one two three", stream=stream)
            assert await response.pump([], Recorder()) is Ending.DONE

    play(scenario)


class Upper:
    """A filter that changes each piece and keeps none back."""

    def feed(self, piece: bytes) -> bytes:
        return piece.upper()

    def finish(self, ending: Ending) -> bytes:
        return f"<{ending.value}>".encode()


class Pairs:
    """A filter that passes pieces in pairs, and an odd one at the end."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []

    def feed(self, piece: bytes) -> bytes:
        self._kept.append(piece)
        return self._out() if len(self._kept) == 2 else b""

    def finish(self, ending: Ending) -> bytes:
        return self._out()

    def _out(self) -> bytes:
        out, self._kept = b"".join(self._kept), []
        return out


def test_events_pass_the_filters_in_order() -> None:
    """Each event is fed alone. A filter may hold events back, and its last output passes the next filter."""

    async def scenario(loop: VirtualLoop) -> None:
        plain, filtered = Recorder(), Recorder()
        response = await opened(EchoSettings(), "one two", stream=True)
        await response.pump([], plain)
        response = await opened(EchoSettings(), "one two", stream=True)
        assert await response.pump([Upper(), Pairs()], filtered) is Ending.DONE
        upper = [piece.upper() for piece in plain.pieces]
        assert len(upper) == 5
        assert filtered.pieces == [upper[0] + upper[1], upper[2] + upper[3], upper[4] + b"<done>"]

    play(scenario)


def test_filters_get_the_ending_of_a_cut_stream() -> None:
    """The last output of the filters is written for a cut stream, too, after they have got its ending."""

    async def scenario(loop: VirtualLoop) -> None:
        recorder = Recorder()
        response = await opened(EchoSettings(cut_after=1), "one two", stream=True)
        await response.pump([Upper()], recorder)
        assert recorder.pieces[-1] == b"<reset>"

    play(scenario)


def test_event_beyond_the_limit_ends_the_stream() -> None:
    """An event that is too large for the re-chunker ends the stream with LIMIT; the earlier events are delivered."""

    async def scenario(loop: VirtualLoop) -> None:
        recorder = Recorder()
        response = await opened(EchoSettings(), "one " + "x" * 1000, stream=True)
        assert await response.pump([Rechunker(500)], recorder) is Ending.LIMIT
        assert recorder.words == ["one "]

    play(scenario)


def test_events_before_one_beyond_the_limit_are_delivered() -> None:
    """Of two events that reach the re-chunker together, the small one is delivered."""

    async def scenario(loop: VirtualLoop) -> None:
        recorder = Recorder()
        response = await opened(EchoSettings(), "one two " + "x" * 1000, stream=True)
        assert await response.pump([Pairs(), Rechunker(500)], recorder) is Ending.LIMIT
        assert recorder.pieces[-1].count(b"data: ") == 1
        assert b'"content":"two "' in recorder.pieces[-1]

    play(scenario)


def test_read_returns_the_body_within_the_limit() -> None:
    """``read`` returns a body up to exactly the limit, and None for a larger one."""

    async def scenario(loop: VirtualLoop) -> None:
        size = (await opened(EchoSettings(), "one two", stream=False)).length
        assert size is not None
        whole = await (await opened(EchoSettings(), "one two", stream=False)).read(size)
        assert whole is not None
        assert len(whole) == size
        assert await (await opened(EchoSettings(), "one two", stream=False)).read(size - 1) is None
        streamed = await (await opened(SLOW, "one two", stream=True)).read(100_000)
        assert streamed is not None
        assert streamed.endswith(b"data: [DONE]\n\n")

    play(scenario)


def test_read_of_a_cut_body_is_none() -> None:
    """A cut body is not returned."""

    async def scenario(loop: VirtualLoop) -> None:
        for stream in (False, True):
            response = await opened(EchoSettings(cut_after=1), "one two", stream=stream)
            assert await response.read(100_000) is None

    play(scenario)


def test_finished_body_leaves_no_timer() -> None:
    """After its body was pumped or read, a response has no timer for the total time."""

    async def scenario(loop: VirtualLoop) -> None:
        watched = Timeouts(total=9.0)
        await (await opened(EchoSettings(), "hi", timeouts=watched, stream=True)).pump([], Recorder())
        assert loop.pending_timers == 0
        await (await opened(EchoSettings(), "hi", timeouts=watched, stream=False)).read(10_000)
        assert loop.pending_timers == 0

    play(scenario)


def test_discarded_response_leaves_no_timer() -> None:
    """``discard`` cancels the timer for the total time."""

    async def scenario(loop: VirtualLoop) -> None:
        response = await opened(EchoSettings(), "hi", timeouts=Timeouts(total=9.0), stream=True)
        assert loop.pending_timers == 1
        response.discard()
        assert loop.pending_timers == 0

    play(scenario)


def test_first_byte_timeout_applies_to_whole_answers() -> None:
    """A head that would come after ``first_byte`` seconds is a timeout at that time."""

    async def scenario(loop: VirtualLoop) -> None:
        with pytest.raises(TransportError) as caught:
            await opened(SLOW, "one two three", timeouts=Timeouts(first_byte=2.5, total=60.0), stream=False)
        assert caught.value.fault is Fault.FIRST_BYTE_TIMEOUT
        assert loop.time() == 2.5

    play(scenario)


def test_idle_timeout_applies_between_words() -> None:
    """The stream ends with IDLE, ``idle`` seconds after its last event."""

    async def scenario(loop: VirtualLoop) -> None:
        recorder = Recorder()
        response = await opened(SLOW, "one two", timeouts=Timeouts(idle=1.5), stream=True)
        assert await response.pump([], recorder) is Ending.IDLE
        assert (loop.time(), recorder.times) == (1.5, [0.0])

    play(scenario)


def test_idle_time_does_not_run_during_a_pause() -> None:
    """The client causes the pause, so a pause longer than ``idle`` does not end the stream."""

    async def scenario(loop: VirtualLoop) -> None:
        recorder = Recorder(stop_after=1)
        response = await opened(EchoSettings(), "one two", timeouts=Timeouts(idle=1.5), stream=True)
        pumping = Driven(response.pump([], recorder))
        loop.call_later(30.0, lambda: recorder.source and recorder.source.resume_reading())  # type: ignore[func-returns-value]
        await asyncio.sleep(31)
        assert pumping.result is Ending.DONE

    play(scenario)


def test_total_timeout_ends_every_phase() -> None:
    """Before the head it is a first-byte timeout; in the body it is LIMIT, even during a pause."""

    async def scenario(loop: VirtualLoop) -> None:
        total = Timeouts(total=2.25)
        with pytest.raises(TransportError) as caught:
            await opened(SLOW, "one two three", timeouts=total, stream=False)
        assert caught.value.fault is Fault.FIRST_BYTE_TIMEOUT
        assert loop.time() == 2.25
        streaming = await opened(SLOW, "one two three", timeouts=total, stream=True)
        assert await streaming.pump([], Recorder()) is Ending.LIMIT
        assert loop.time() == 4.5
        paused = await opened(EchoSettings(), "one two three", timeouts=total, stream=True)
        assert await paused.pump([], Recorder(stop_after=1)) is Ending.LIMIT
        assert loop.time() == 6.75

    play(scenario)


def test_close_cuts_running_responses() -> None:
    """Closing the transport resets running bodies and fails requests without a head."""

    async def scenario(loop: VirtualLoop) -> None:
        local = transport()
        response = await local.send(provider(SLOW), chat_request("one two", stream=True))
        streaming = Driven(response.pump([], Recorder()))
        working = Driven(local.send(provider(SLOW), chat_request("one two")))
        await local.close()
        await asyncio.sleep(0.1)
        assert streaming.result is Ending.RESET
        assert isinstance(working.error, TransportError)
        assert working.error.fault is Fault.CLOSED

    play(scenario)
