"""A local model's process that crashes, hangs or talks nonsense: what its requests see, and how it comes back."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
from pathlib import Path

import pytest
from engine_helpers import Bench, benching, one_bench, pumped
from support.program import until

from onwards_py.messages import Ending, Fault
from onwards_py.transports.base import TransportError
from onwards_py.transports.engine.engine import EngineState, EngineSupervisor, restart_delay

WAIT = re.compile(r"next start not before ([\d.]+) s")


bench = one_bench


async def lost(bench: Bench, engine: EngineSupervisor, **body: object) -> TransportError:
    """How a request fails that brings the process down."""
    with pytest.raises(TransportError) as caught:
        await bench.send(engine, **body).outcome()  # type: ignore[arg-type]
    return caught.value


async def test_a_crash_before_the_head_fails_the_request_and_the_next_is_served(bench: Bench) -> None:
    """Unavailable, so that a pool moves on; the process is started again at once, by itself."""
    engine = bench.engine()
    error = await lost(bench, engine, do="die")
    assert error.fault is Fault.UNAVAILABLE
    pid = await bench.started(2)
    assert (await bench.ask(engine))["pid"] == pid
    assert (engine.counters.restarts, engine.counters.loads) == (1, 2)


async def test_a_crash_in_a_stream_is_a_cut_and_the_next_is_served(bench: Bench) -> None:
    """What had come is delivered; the ending is none that could be taken for a regular one."""
    engine = bench.engine()
    response = await bench.send(engine, do="stream", events=3, then="die").outcome()
    ending, body = await pumped(response)
    assert ending in (Ending.EOF, Ending.RESET)
    assert b"data: 0\n\ndata: 1\n\ndata: 2\n\n".startswith(body)
    assert b"[DONE]" not in body
    assert (await bench.ask(engine))["pid"] == await bench.started(2)


async def test_a_request_that_meets_a_process_just_dead_is_served_by_the_next(bench: Bench) -> None:
    """Nothing was computed, so nothing is lost: it waits for the restart instead of failing."""
    engine = bench.engine()
    await bench.ask(engine)
    os.kill(bench.pids()[0], signal.SIGKILL)
    await bench.gone(bench.pids()[0])
    answer = await bench.ask(engine)
    assert answer["pid"] == await bench.started(2)


async def test_a_request_that_kills_its_process_is_not_given_to_the_next(bench: Bench) -> None:
    """Also when it went out on a kept connection, where a silent end usually means that it was not even read."""
    engine = bench.engine()
    await bench.ask(engine)
    assert (await lost(bench, engine, do="die")).fault is Fault.UNAVAILABLE
    assert (await bench.ask(engine))["pid"] == bench.pids()[-1]
    assert len(bench.pids()) == 2


async def test_waits_between_restarts_grow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first fall of a process that worked costs no wait; each further one doubles it."""
    async with benching(tmp_path, first_delay=0.01) as bench:
        engine = bench.engine()
        for count in range(1, 6):
            await until(lambda: engine.state in (EngineState.COLD, EngineState.READY))
            await lost(bench, engine, do="die")
            await until(lambda count=count: len(WAIT.findall(caplog.text)) == count)  # type: ignore[misc]
        assert [float(wait) for wait in WAIT.findall(caplog.text)] == [0, 0.01, 0.02, 0.04, 0.08]


@pytest.mark.parametrize(
    ("falls", "was_ready", "seconds"),
    [(0, True, 0), (1, True, 1), (3, True, 4), (0, False, 1), (1, False, 2), (6, False, 60), (100_000, True, 60)],
)
def test_the_wait_is_bounded(falls: int, was_ready: bool, seconds: float) -> None:
    """By a minute, however often it fell before; one that never worked waits from the first fall on."""
    assert restart_delay(falls, was_ready, 1.0) == seconds


async def test_while_it_waits_after_a_crash_requests_are_refused_at_once(tmp_path: Path) -> None:
    """The second fall in a row begins a wait, during which a pool goes on to the next provider."""
    async with benching(tmp_path, first_delay=60.0) as bench:
        engine = bench.engine()
        await lost(bench, engine, do="die")
        await bench.started(2)
        await until(lambda: engine.state is EngineState.READY)
        await lost(bench, engine, do="die")
        await until(lambda: engine.state is EngineState.DOWN)
        assert (await lost(bench, engine)).fault is Fault.UNAVAILABLE
        assert len(bench.pids()) == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"do": "freeze"}, "it was silent for 0.3 s"),
        ({"do": "hush"}, "it was silent for 0.3 s"),
        ({"do": "stick"}, "a computation has not stopped for 3600 s"),
        ({"do": "babble", "text": "llama_model_loader: hello"}, "cannot be understood"),
        ({"do": "babble", "text": '{"type":"done"}'}, "cannot be understood"),
        ({"do": "babble", "text": "x" * 100_000}, "cannot be understood"),
    ],
    ids=["stopped", "leaves pings unanswered", "stuck", "text", "half a report", "an endless line"],
)
async def test_one_that_cannot_be_relied_on_is_killed(
    bench: Bench, caplog: pytest.LogCaptureFixture, body: dict[str, object], words: str
) -> None:
    """Within ``hang_timeout`` and a little, its request fails as unavailable, and a new process serves the next."""
    engine = bench.engine(hang_timeout=0.3)
    error = await lost(bench, engine, **body)
    assert error.fault is Fault.UNAVAILABLE
    await until(lambda: words in caplog.text)
    assert (await bench.ask(engine))["pid"] == await bench.started(2)


async def test_one_that_stops_in_a_stream_is_killed_and_the_stream_is_cut(bench: Bench) -> None:
    """SIGSTOP between two events: long before ``timeouts.idle``."""
    engine = bench.engine(hang_timeout=0.3)
    response = await bench.send(engine, do="stream", events=2, then="freeze").outcome()
    ending, body = await pumped(response)
    assert ending in (Ending.EOF, Ending.RESET)
    assert b"[DONE]" not in body
    assert (await bench.ask(engine))["pid"] == await bench.started(2)


async def test_one_that_works_for_longer_than_hang_timeout_is_left_alone(bench: Bench) -> None:
    """Long answers are no silence, as long as pings are answered."""
    engine = bench.engine(hang_timeout=0.3)
    call = await bench.holding(engine)
    await asyncio.sleep(0.8)
    assert not call.done
    bench.open("gate")
    (await call.outcome()).discard()
    assert len(bench.pids()) == 1


async def test_one_that_lives_but_does_not_listen_is_unavailable(bench: Bench) -> None:
    """Two refused connections are enough; the request does not wait for ever."""
    engine = bench.engine()
    await lost(bench, engine, do="deafen")
    assert (await lost(bench, engine)).fault is Fault.UNAVAILABLE


async def test_what_is_no_http_is_unavailable(bench: Bench) -> None:
    """The request fails; the process is not judged by it."""
    engine = bench.engine()
    assert (await lost(bench, engine, do="mumble")).fault is Fault.UNAVAILABLE
    await bench.ask(engine)
    assert len(bench.pids()) == 1


async def test_all_who_wait_are_told_when_it_falls(bench: Bench) -> None:
    """Five requests in one process: five failures, no place kept."""
    engine = bench.engine(slots=5)
    calls = [await bench.holding(engine) for _ in range(5)]
    os.kill(bench.pids()[0], signal.SIGKILL)
    for call in calls:
        with pytest.raises(TransportError) as caught:
            await call.outcome()
        assert caught.value.fault is Fault.UNAVAILABLE
    assert engine.in_flight == 0


async def test_what_was_computed_is_counted_over_restarts(bench: Bench) -> None:
    """`Done` reports add up; the rate is that of the last answer."""
    engine = bench.engine()
    done = {"type": "done", "prompt_tokens": 5, "prompt_seconds": 0.5, "completion_seconds": 2.0}
    await bench.ask(engine, do="tell", reports=[{**done, "completion_tokens": 10}])
    os.kill(bench.pids()[0], signal.SIGKILL)
    await bench.started(2)
    await bench.ask(engine, do="tell", reports=[{**done, "completion_tokens": 30}])
    await until(lambda: engine.counters.completion_tokens == 40)
    assert (engine.counters.prompt_tokens, engine.counters.completion_seconds, engine.counters.last_rate) == (
        10,
        4.0,
        15.0,
    )


async def test_nothing_that_a_process_says_is_logged_as_more_than_debug(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """What a library prints may be about a request."""
    caplog.set_level(logging.INFO)
    engine = bench.engine()
    await bench.ask(engine, do="utter", text="about a request")
    await bench.ask(engine)
    assert "about a request" not in caplog.text
