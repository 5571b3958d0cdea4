"""How many requests a local model may have, and that every way in which one ends gives its place back."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest
from echo_helpers import Recorder
from engine_helpers import Bench, Call, driven, one_bench, pumped
from support.program import until

from onwards_py.messages import Ending
from onwards_py.observe.engine_metrics import EngineMetrics
from onwards_py.transports.base import UpstreamResponse

bench = one_bench


async def test_beyond_slots_and_queue_it_is_503_at_once(bench: Bench) -> None:
    """With Retry-After and the envelope, whole; the engine is not asked."""
    engine = bench.engine(slots=1, queue=1)
    held = [await bench.holding(engine, gate) for gate in ("a", "b")]
    response = await bench.send(engine).outcome()
    assert response.head.status == 503
    assert (b"retry-after", b"1") in response.head.fields
    body = response.complete_body()
    assert body is not None
    error = json.loads(body)["error"]
    assert error.pop("message")
    assert error == {"type": "server_error", "param": None, "code": "engine_overloaded"}
    bench.open("a")
    (await held[0].outcome()).discard()
    assert (await bench.ask(engine))["served"] == 3
    bench.open("b")
    (await held[1].outcome()).discard()


async def test_those_who_wait_for_loading_count(bench: Bench) -> None:
    """A slow load does not gather more requests than a slow model."""
    engine = bench.engine({"load": "gated"}, slots=1, queue=0)
    call = bench.send(engine)
    assert (await bench.send(engine).outcome()).head.status == 503
    bench.open("load")
    (await call.outcome()).discard()


async def test_a_queue_of_nothing_leaves_the_slots(bench: Bench) -> None:
    """``queue: 0``: as many as there are slots, and nobody waits."""
    engine = bench.engine(slots=2, queue=0)
    held = [await bench.holding(engine) for _ in range(2)]
    assert (await bench.send(engine).outcome()).head.status == 503
    bench.open("gate")
    for call in held:
        (await call.outcome()).discard()


async def test_metrics_tell_those_at_work_from_those_who_wait(bench: Bench) -> None:
    """In flight are all, waiting those beyond the slots."""
    engine = bench.engine(slots=2, queue=8)
    held = [await bench.holding(engine) for _ in range(5)]
    samples = {s.name: s.value for family in EngineMetrics(bench.engines.all).collect() for s in family.samples}
    assert (samples["onwards_engine_in_flight"], samples["onwards_engine_waiting"]) == (5, 3)
    bench.open("gate")
    for call in held:
        (await call.outcome()).discard()


async def by_whole(response: UpstreamResponse) -> None:
    await until(lambda: response.complete_body() is not None)


async def by_pump(response: UpstreamResponse) -> None:
    assert (await pumped(response))[0] is Ending.DONE


async def by_read(response: UpstreamResponse) -> None:
    assert await driven(response.read(1 << 20)) is not None


async def by_too_small_a_read(response: UpstreamResponse) -> None:
    assert await driven(response.read(1)) is None


async def by_discard(response: UpstreamResponse) -> None:
    response.discard()


async def by_discard_twice(response: UpstreamResponse) -> None:
    response.discard()
    response.discard()


async def by_read_and_discard(response: UpstreamResponse) -> None:
    assert await driven(response.read(1 << 20)) is not None
    response.discard()


@pytest.mark.parametrize("do", ["answer", "stream"])
@pytest.mark.parametrize(
    "end", [by_whole, by_pump, by_read, by_too_small_a_read, by_discard, by_discard_twice, by_read_and_discard]
)
async def test_a_place_is_held_to_the_last_byte_and_given_back_once(
    bench: Bench, do: str, end: Callable[[UpstreamResponse], Awaitable[None]]
) -> None:
    """Whatever is done with the body."""
    engine = bench.engine()
    other = await bench.holding(engine)
    response = await bench.send(engine, do=do).outcome()
    assert engine.in_flight == 2
    await end(response)
    assert engine.in_flight == 1
    bench.open("gate")
    (await other.outcome()).discard()


async def test_half_of_a_whole_answer_gives_nothing_back(bench: Bench) -> None:
    """`whole` without a result: the body is still to be pumped."""
    engine = bench.engine()
    response = await bench.send(engine, do="halves", gate="rest").outcome()
    assert response.complete_body() is None
    assert engine.in_flight == 1
    bench.open("rest")
    assert await pumped(response) == (Ending.DONE, b'{"":')
    assert engine.in_flight == 0


async def test_a_cut_stream_gives_its_place_back(bench: Bench) -> None:
    """The process died with it."""
    engine = bench.engine()
    await pumped(await bench.send(engine, do="stream", then="die").outcome())
    assert engine.in_flight == 0


async def test_a_crash_before_the_head_gives_the_place_back(bench: Bench) -> None:
    """The attempt has failed."""
    engine = bench.engine()
    call = bench.send(engine, do="die")
    await until(lambda: call.done)
    assert engine.in_flight == 0


async def test_a_failed_load_gives_the_place_back(bench: Bench) -> None:
    """The attempt has failed."""
    engine = bench.engine({"load": "die"})
    call = bench.send(engine)
    await until(lambda: call.done)
    assert engine.in_flight == 0


async def test_leaving_while_it_loads_gives_the_place_back(bench: Bench) -> None:
    """At once, not when it has loaded."""
    engine = bench.engine({"load": "gated"})
    call = bench.send(engine)
    await bench.started(1)
    call.task.cancel()
    assert engine.in_flight == 0


async def test_leaving_before_the_head_gives_the_place_back_and_is_told_the_engine(bench: Bench) -> None:
    """Its connection is closed, which is how the engine knows that nobody waits any more."""
    engine = bench.engine()
    call = await bench.holding(engine)
    call.task.cancel()
    assert engine.in_flight == 0
    await until(lambda: bench.notes("left") == ["gate"])


async def test_leaving_in_a_stream_gives_the_place_back_and_is_told_the_engine(bench: Bench) -> None:
    """The same in mid-stream."""
    engine = bench.engine()
    response = await bench.send(engine, do="stream", gate="more").outcome()
    pumping: Call[tuple[Ending, bytes]] = Call(_pump(response))
    await until(lambda: bench.notes("came"))
    assert engine.in_flight == 1
    pumping.task.cancel()
    assert engine.in_flight == 0
    await until(lambda: bench.notes("left") == ["more"])


async def _pump(response: UpstreamResponse) -> tuple[Ending, bytes]:
    return await response.pump([], Recorder()), b""
