"""The start of a local model: its time, its number, the waiting requests, and the messages of a failed load."""

from __future__ import annotations

import asyncio
import logging
import resource
from pathlib import Path

import pytest
from engine_helpers import SHORT_WAIT, Bench, benching, driven, one_bench
from support.program import until

from onwards_py.messages import Fault
from onwards_py.model.pool import Pool
from onwards_py.model.provider import Provider, Timeouts
from onwards_py.observe.engine_metrics import EngineMetrics
from onwards_py.transports.base import OutboundRequest, Transport, TransportError, UpstreamResponse
from onwards_py.transports.engine.engine import EngineState, EngineSupervisor
from onwards_py.transports.engine.transport import EngineTransport

BROKEN: dict[str, object] = {"load": "fail", "message": "Install the thing."}


bench = one_bench


def pool(engine: EngineSupervisor) -> Pool:
    return Pool("m", (Provider("id-1", "local", local=engine.settings),))


class Noting:
    """A transport that records the first-byte timeout of each request."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.first_bytes: list[float] = []

    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        self.first_bytes.append(provider.timeouts.first_byte)
        return await self._transport.send(provider, request)

    async def close(self) -> None:
        """The owner closes it."""


async def failure(bench: Bench, engine: EngineSupervisor, timeouts: Timeouts | None = None) -> TransportError:
    """The error of a request without a response."""
    with pytest.raises(TransportError) as caught:
        await bench.send(engine, timeouts).outcome()
    return caught.value


async def test_a_lazy_engine_starts_with_the_first_request(bench: Bench) -> None:
    """The configuration alone does not start it. The process that the request started answers it."""
    engine = bench.engine()
    bench.engines.reconfigure([pool(engine)])
    assert (engine.state, engine.starting) == (EngineState.COLD, False)
    answer = await bench.ask(engine)
    assert bench.pids() == [answer["pid"]]
    assert (engine.state, engine.counters.loads) == (EngineState.READY, 1)


async def test_an_eager_engine_starts_without_a_request(bench: Bench) -> None:
    """Its state is starting until it has loaded."""
    engine = bench.engine(eager=True)
    bench.engines.reconfigure([pool(engine)])
    assert (engine.state, engine.starting) == (EngineState.LOADING, True)
    await until(lambda: engine.state is EngineState.READY)
    assert not engine.starting


async def test_equal_settings_share_a_process_and_others_do_not(bench: Bench) -> None:
    """Two providers with one model use its memory once."""
    one, same, other = bench.engine(), bench.engine(), bench.engine(slots=2)
    assert one is same
    pids = [(await bench.ask(engine))["pid"] for engine in (one, same, other)]
    assert pids[0] == pids[1] != pids[2]
    assert len({one.name, other.name}) == 2


async def test_requests_during_the_load_wait_for_one_process(bench: Bench) -> None:
    """Ten requests get ten answers from one process."""
    engine = bench.engine({"load": "gated"}, slots=10)
    calls = [bench.send(engine) for _ in range(10)]
    await bench.started(1)
    assert not any(call.done for call in calls)
    bench.open("load")
    for call in calls:
        response = await call.outcome()
        assert response.head.status == 200
        assert await driven(response.read(1 << 20)) is not None
    assert len(bench.pids()) == 1


async def test_the_process_gets_its_settings(bench: Bench) -> None:
    """The launch spec has the configured settings. The default number of threads leaves one processor free."""
    engine = bench.engine(slots=3, threads=2, context=512, memory=1 << 30, gpu_layers=4, nice=7)
    order = (await bench.ask(engine))["order"]
    assert {name: order[name] for name in ("slots", "threads", "context", "memory", "gpu_layers", "nice")} == {
        "slots": 3,
        "threads": 2,
        "context": 512,
        "memory": 1 << 30,
        "gpu_layers": 4,
        "nice": 7,
    }
    assert order["engine"] == "llama_cpp"
    assert order["model"] == engine.settings.model


async def test_the_load_counts_against_first_byte_and_goes_on(bench: Bench) -> None:
    """The request fails with a timeout. The next request does not start the load again."""
    engine = bench.engine({"load": "gated"})
    error = await failure(bench, engine, Timeouts(first_byte=0.05))
    assert error.fault is Fault.FIRST_BYTE_TIMEOUT
    await bench.started(1)
    assert (engine.state, engine.in_flight) == (EngineState.LOADING, 0)
    bench.open("load")
    await bench.ask(engine)
    assert len(bench.pids()) == 1


async def test_the_answer_has_the_rest_of_first_byte_after_the_load(bench: Bench) -> None:
    """One timeout bounds both. Without a load the answer has all of it."""
    noting = Noting(bench.http)
    transport = EngineTransport(bench.engines, noting)
    engine = bench.engine()
    provider = Provider("id-1", "local", local=engine.settings, timeouts=Timeouts(first_byte=60))
    for _ in range(2):
        (await driven(transport.send(provider, bench.request()))).discard()
    first, second = noting.first_bytes
    assert first < 60
    assert second == 60


async def test_the_exchanges_deadline_bounds_the_wait_for_loading(bench: Bench) -> None:
    """The request carries ``timeouts.total`` as a deadline, which counts during the load."""
    engine = bench.engine({"load": "gated"})
    loop = asyncio.get_running_loop()
    call = bench.send(engine, deadline=loop.time() + 0.05)
    with pytest.raises(TransportError) as caught:
        await call.outcome()
    assert caught.value.fault is Fault.FIRST_BYTE_TIMEOUT


async def test_the_error_of_a_failed_load_has_advice(bench: Bench) -> None:
    """The advice is the program's own message. The request fails as unavailable, which causes fallback."""
    engine = bench.engine(BROKEN)
    error = await failure(bench, engine)
    assert (error.fault, error.advice) == (Fault.UNAVAILABLE, "Install the thing.")
    assert engine.state is EngineState.DOWN


async def test_a_crash_during_the_load_is_a_failed_load(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """It has no advice, but the log has the signal and the last output."""
    error = await failure(bench, bench.engine({"load": "die"}))
    assert (error.fault, error.advice) == (Fault.UNAVAILABLE, None)
    assert "ended by SIGKILL" in caplog.text
    assert "these are my last words" in caplog.text


async def test_a_crash_during_the_load_with_a_memory_limit_suggests_more_memory(bench: Bench) -> None:
    """A process that runs out of memory rarely reports it. If the program reports another reason, that is used."""
    error = await failure(bench, bench.engine({"load": "die"}, memory=1 << 40))
    assert error.advice is not None
    assert "memory" in error.advice
    error = await failure(bench, bench.engine(BROKEN, memory=1 << 40))
    assert error.advice == "Install the thing."


async def test_a_process_that_never_gets_ready_is_killed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """This happens after ``load_timeout``, and the waiting requests fail."""
    error = await failure(bench, bench.engine({"load": "never"}, load_timeout=0.5))
    assert error.fault is Fault.UNAVAILABLE
    assert "did not load within 0.5 s" in caplog.text
    for pid in bench.pids():
        await bench.gone(pid)


async def test_a_process_that_cannot_be_created_is_a_failed_load(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """For example, no descriptors are left. The request fails as unavailable, the proxy lives, and a later request
    tries again."""
    engine = bench.engine()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        error = await failure(bench, engine)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert error.fault is Fault.UNAVAILABLE
    assert "cannot be started" in caplog.text
    await asyncio.sleep(SHORT_WAIT)
    await bench.ask(engine)


async def test_during_the_wait_after_a_failure_requests_are_refused_at_once(tmp_path: Path) -> None:
    """A pool does not wait for a model that has just failed. The advice is repeated."""
    async with benching(tmp_path, first_delay=60.0) as bench:
        engine = bench.engine(BROKEN)
        await failure(bench, engine)
        error = await failure(bench, engine)
        assert (error.fault, error.advice) == (Fault.UNAVAILABLE, "Install the thing.")
        assert len(bench.pids()) == 1


async def test_after_the_wait_the_next_request_tries_again(bench: Bench) -> None:
    """A lazy engine is not restarted without a request. After a successful load the advice is removed."""
    engine = bench.engine({**BROKEN, "good_from": 2})
    await failure(bench, engine)
    assert len(bench.pids()) == 1
    await asyncio.sleep(2 * SHORT_WAIT)
    assert len(bench.pids()) == 1
    assert (await bench.ask(engine))["pid"] == bench.pids()[1]
    assert engine.advice is None


async def test_an_eager_engine_is_restarted_without_a_request(bench: Bench) -> None:
    """The first failure schedules the restart, and restarts are counted."""
    engine = bench.engine({**BROKEN, "good_from": 3}, eager=True)
    engine.start()
    await until(lambda: engine.state is EngineState.DOWN)
    assert not engine.starting
    await until(lambda: engine.state is EngineState.READY)
    assert (len(bench.pids()), engine.counters.restarts, engine.counters.loads) == (3, 2, 1)


async def test_a_disconnect_during_the_load_does_not_stop_it(bench: Bench) -> None:
    """The permit is released, and the load goes on for the others."""
    engine = bench.engine({"load": "gated"})
    leaving, staying = bench.send(engine), bench.send(engine)
    await bench.started(1)
    assert engine.in_flight == 2
    leaving.task.cancel()
    assert engine.in_flight == 1
    bench.open("load")
    (await staying.outcome()).discard()
    assert len(bench.pids()) == 1


async def test_the_load_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """One line is logged at the beginning and one at the end, with the model and the duration. Metrics have the
    duration, too."""
    caplog.set_level(logging.INFO)
    engine = bench.engine()
    await bench.ask(engine)
    assert f"engine {engine.name}: loading" in caplog.text
    assert "loaded fake.gguf (12.0 MB) in 0.25 s" in caplog.text
    samples = {s.name: s.value for family in EngineMetrics(bench.engines.all).collect() for s in family.samples}
    assert (samples["onwards_engine_up"], samples["onwards_engine_load_seconds"]) == (1, 0.25)
