"""Local models across reloads: an engine that is not configured any more ends after its last exchange."""

from __future__ import annotations

from pathlib import Path

from engine_helpers import Bench, benching, driven, one_bench
from support.program import until

from onwards_py.model.pool import Pool
from onwards_py.model.provider import EngineSettings, Provider
from onwards_py.transports.engine.engine import EngineState

bench = one_bench


def naming(*engines: EngineSettings) -> list[Pool]:
    """A configuration with these engines."""
    return [Pool("m", tuple(Provider(f"id-{number}", "local", local=local) for number, local in enumerate(engines)))]


async def test_an_idle_engine_ends_when_it_is_removed(bench: Bench) -> None:
    """Its process ends, too. Other engines go on."""
    kept, dropped = bench.engine({"n": 1}), bench.engine({"n": 2})
    bench.transport.reconfigure(naming(kept.settings, dropped.settings))
    for engine in (kept, dropped):
        await bench.ask(engine)
    kept_pid, dropped_pid = bench.pids()
    bench.transport.reconfigure(naming(kept.settings))
    await bench.gone(dropped_pid)
    assert bench.engines.all() == [kept]
    assert (await bench.ask(kept))["served"] == 2
    assert bench.pids() == [kept_pid, dropped_pid]


async def test_a_removed_busy_engine_ends_with_its_last_request(bench: Bench) -> None:
    """An exchange keeps the configuration that it began with."""
    engine = bench.engine(slots=2)
    bench.transport.reconfigure(naming(engine.settings))
    held = [await bench.holding(engine, gate) for gate in ("a", "b")]
    bench.transport.reconfigure(naming())
    for gate, call in zip(("a", "b"), held, strict=True):
        assert engine.state is EngineState.READY
        assert bench.engines.all() == [engine]
        bench.open(gate)
        response = await call.outcome()
        assert await driven(response.read(1 << 20))
    assert bench.engines.all() == []
    await bench.gone(bench.pids()[0])


async def test_an_engine_that_is_restored_in_time_goes_on(bench: Bench) -> None:
    """It is configured again before its last request ends, so the model is not loaded again."""
    engine = bench.engine()
    bench.transport.reconfigure(naming(engine.settings))
    call = await bench.holding(engine)
    bench.transport.reconfigure(naming())
    bench.transport.reconfigure(naming(engine.settings))
    bench.open("gate")
    (await call.outcome()).discard()
    assert bench.engines.all() == [engine]
    await bench.ask(engine)
    assert len(bench.pids()) == 1


async def test_an_old_exchange_may_still_use_a_removed_engine(bench: Bench) -> None:
    """It may do so by fallback. It gets its answer from a process that ends afterwards."""
    settings = bench.settings()
    bench.transport.reconfigure(naming())
    engine = bench.engines.of(settings)
    assert (await bench.ask(engine))["served"] == 1
    assert bench.engines.all() == []
    await bench.gone(bench.pids()[0])


async def test_an_engine_that_is_removed_and_restored_has_another_socket(bench: Bench) -> None:
    """Requests of the same provider use the new socket."""
    first = bench.engine()
    bench.transport.reconfigure(naming(first.settings))
    await bench.ask(first)
    bench.transport.reconfigure(naming())
    bench.transport.reconfigure(naming(first.settings))
    (second,) = bench.engines.all()
    assert second is not first
    assert second.socket != first.socket
    assert (await bench.ask(second))["served"] == 1


async def test_a_reload_does_not_shorten_the_wait_after_a_failed_load(tmp_path: Path) -> None:
    """Otherwise each edit of the file would retry an engine that cannot load."""
    async with benching(tmp_path, 1000.0) as bench:
        pools = naming(bench.settings({"load": "fail", "message": "no"}, eager=True))
        bench.transport.reconfigure(pools)
        (engine,) = bench.engines.all()
        await until(lambda: engine.state is EngineState.DOWN)
        bench.transport.reconfigure(pools)
        assert bench.engines.all()[0].state is EngineState.DOWN
