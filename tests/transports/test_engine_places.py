"""The number of requests that a local model may have, and the release of the permit at every kind of end."""

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


async def test_above_slots_and_queue_the_response_is_503(bench: Bench) -> None:
    """The complete envelope has Retry-After, and the process gets no request."""
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


async def test_requests_that_wait_for_the_load_count(bench: Bench) -> None:
    """A slow load does not collect more requests than a slow model."""
    engine = bench.engine({"load": "gated"}, slots=1, queue=0)
    call = bench.send(engine)
    assert (await bench.send(engine).outcome()).head.status == 503
    bench.open("load")
    (await call.outcome()).discard()


async def test_a_queue_of_zero_admits_only_the_slots(bench: Bench) -> None:
    """With ``queue: 0`` there are as many requests as slots, and none waits."""
    engine = bench.engine(slots=2, queue=0)
    held = [await bench.holding(engine) for _ in range(2)]
    assert (await bench.send(engine).outcome()).head.status == 503
    bench.open("gate")
    for call in held:
        (await call.outcome()).discard()


async def test_metrics_distinguish_running_from_waiting_requests(bench: Bench) -> None:
    """All requests are in flight; those above the slots are waiting."""
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
async def test_a_permit_is_held_until_the_last_byte_and_released_once(
    bench: Bench, do: str, end: Callable[[UpstreamResponse], Awaitable[None]]
) -> None:
    """This holds for every use of the body."""
    engine = bench.engine()
    other = await bench.holding(engine)
    response = await bench.send(engine, do=do).outcome()
    assert engine.in_flight == 2
    await end(response)
    assert engine.in_flight == 1
    bench.open("gate")
    (await other.outcome()).discard()


async def test_an_incomplete_body_does_not_release_the_permit(bench: Bench) -> None:
    """`whole` has no result yet, so the body must still be pumped."""
    engine = bench.engine()
    response = await bench.send(engine, do="halves", gate="rest").outcome()
    assert response.complete_body() is None
    assert engine.in_flight == 1
    bench.open("rest")
    assert await pumped(response) == (Ending.DONE, b'{"":')
    assert engine.in_flight == 0


async def test_a_cut_stream_releases_its_permit(bench: Bench) -> None:
    """The stream was cut because the process crashed."""
    engine = bench.engine()
    await pumped(await bench.send(engine, do="stream", then="die").outcome())
    assert engine.in_flight == 0


async def test_a_crash_before_the_head_releases_the_permit(bench: Bench) -> None:
    """The attempt has failed."""
    engine = bench.engine()
    call = bench.send(engine, do="die")
    await until(lambda: call.done)
    assert engine.in_flight == 0


async def test_a_failed_load_releases_the_permit(bench: Bench) -> None:
    """The attempt has failed."""
    engine = bench.engine({"load": "die"})
    call = bench.send(engine)
    await until(lambda: call.done)
    assert engine.in_flight == 0


async def test_a_disconnect_during_the_load_releases_the_permit(bench: Bench) -> None:
    """It is released at once, not after the load."""
    engine = bench.engine({"load": "gated"})
    call = bench.send(engine)
    await bench.started(1)
    call.task.cancel()
    assert engine.in_flight == 0


async def test_a_disconnect_before_the_head_releases_the_permit_and_cancels(bench: Bench) -> None:
    """The connection to the engine is closed, so that the engine stops computing."""
    engine = bench.engine()
    call = await bench.holding(engine)
    call.task.cancel()
    assert engine.in_flight == 0
    await until(lambda: bench.notes("left") == ["gate"])


async def test_a_disconnect_within_a_stream_releases_the_permit_and_cancels(bench: Bench) -> None:
    """The connection to the engine is closed as well."""
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
