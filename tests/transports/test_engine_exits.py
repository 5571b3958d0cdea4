"""The process of a local model crashes, hangs or sends invalid data: the effect on its requests, and its restart."""

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
    """The error of a request that crashes the process."""
    with pytest.raises(TransportError) as caught:
        await bench.send(engine, **body).outcome()  # type: ignore[arg-type]
    return caught.value


async def test_a_crash_before_the_head_fails_the_request_and_the_next_is_served(bench: Bench) -> None:
    """The request fails as unavailable, so that a pool tries the next provider. The process is restarted at once."""
    engine = bench.engine()
    error = await lost(bench, engine, do="die")
    assert error.fault is Fault.UNAVAILABLE
    pid = await bench.started(2)
    assert (await bench.ask(engine))["pid"] == pid
    assert (engine.counters.restarts, engine.counters.loads) == (1, 2)


async def test_a_crash_in_a_stream_is_a_cut_and_the_next_is_served(bench: Bench) -> None:
    """The received events are delivered, and the ending is not a regular one."""
    engine = bench.engine()
    response = await bench.send(engine, do="stream", events=3, then="die").outcome()
    ending, body = await pumped(response)
    assert ending in (Ending.EOF, Ending.RESET)
    assert b"data: 0\n\ndata: 1\n\ndata: 2\n\n".startswith(body)
    assert b"[DONE]" not in body
    assert (await bench.ask(engine))["pid"] == await bench.started(2)


async def test_a_request_to_a_process_that_just_died_waits_for_the_restart(bench: Bench) -> None:
    """The process has not computed anything for it, so the request need not fail."""
    engine = bench.engine()
    await bench.ask(engine)
    os.kill(bench.pids()[0], signal.SIGKILL)
    await bench.gone(bench.pids()[0])
    answer = await bench.ask(engine)
    assert answer["pid"] == await bench.started(2)


async def test_a_request_that_crashes_its_process_is_not_repeated(bench: Bench) -> None:
    """This holds on a reused connection, too, where an end without a byte usually means an unread request."""
    engine = bench.engine()
    await bench.ask(engine)
    assert (await lost(bench, engine, do="die")).fault is Fault.UNAVAILABLE
    assert (await bench.ask(engine))["pid"] == bench.pids()[-1]
    assert len(bench.pids()) == 2


async def test_waits_between_restarts_grow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first crash of a process that worked causes no wait. Each further crash doubles it."""
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
    """It is at most a minute. A process that never worked waits from the first crash on."""
    assert restart_delay(falls, was_ready, 1.0) == seconds


async def test_while_it_waits_after_a_crash_requests_are_refused_at_once(tmp_path: Path) -> None:
    """The second crash in a row begins a wait, during which a pool uses the next provider."""
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
async def test_a_process_that_does_not_answer_pings_is_killed(
    bench: Bench, caplog: pytest.LogCaptureFixture, body: dict[str, object], words: str
) -> None:
    """Soon after ``hang_timeout`` its request fails as unavailable, and a new process serves the next."""
    engine = bench.engine(hang_timeout=0.3)
    error = await lost(bench, engine, **body)
    assert error.fault is Fault.UNAVAILABLE
    await until(lambda: words in caplog.text)
    assert (await bench.ask(engine))["pid"] == await bench.started(2)


async def test_a_process_that_stops_within_a_stream_is_killed(bench: Bench) -> None:
    """SIGSTOP comes between two events. The stream is cut long before ``timeouts.idle``."""
    engine = bench.engine(hang_timeout=0.3)
    response = await bench.send(engine, do="stream", events=2, then="freeze").outcome()
    ending, body = await pumped(response)
    assert ending in (Ending.EOF, Ending.RESET)
    assert b"[DONE]" not in body
    assert (await bench.ask(engine))["pid"] == await bench.started(2)


async def test_a_long_computation_is_not_a_hang(bench: Bench) -> None:
    """A process may compute for longer than ``hang_timeout`` if it answers pings."""
    engine = bench.engine(hang_timeout=0.3)
    call = await bench.holding(engine)
    await asyncio.sleep(0.8)
    assert not call.done
    bench.open("gate")
    (await call.outcome()).discard()
    assert len(bench.pids()) == 1


async def test_a_process_without_a_listener_is_unavailable(bench: Bench) -> None:
    """After two refused connections the request fails; it does not wait for ever."""
    engine = bench.engine()
    await lost(bench, engine, do="deafen")
    assert (await lost(bench, engine)).fault is Fault.UNAVAILABLE


async def test_an_invalid_http_response_of_the_process_is_unavailable(bench: Bench) -> None:
    """The request fails, and the process is kept."""
    engine = bench.engine()
    assert (await lost(bench, engine, do="mumble")).fault is Fault.UNAVAILABLE
    await bench.ask(engine)
    assert len(bench.pids()) == 1


async def test_a_crash_fails_all_waiting_requests(bench: Bench) -> None:
    """Five requests in one process fail, and no permit stays held."""
    engine = bench.engine(slots=5)
    calls = [await bench.holding(engine) for _ in range(5)]
    os.kill(bench.pids()[0], signal.SIGKILL)
    for call in calls:
        with pytest.raises(TransportError) as caught:
            await call.outcome()
        assert caught.value.fault is Fault.UNAVAILABLE
    assert engine.in_flight == 0


async def test_computed_tokens_are_counted_over_restarts(bench: Bench) -> None:
    """The `Done` reports add up. The rate is that of the last answer."""
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


async def test_output_of_the_process_is_logged_at_debug_level_only(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A library may print parts of a request."""
    caplog.set_level(logging.INFO)
    engine = bench.engine()
    await bench.ask(engine, do="utter", text="about a request")
    await bench.ask(engine)
    assert "about a request" not in caplog.text
