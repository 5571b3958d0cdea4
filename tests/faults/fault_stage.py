"""What a fault is played on: scripted upstreams, a gateway in front of them, and what must hold after every one.

A case is a script for clients and providers. It returns how its exchanges must have ended, as the access log is to tell
it; what the client sees it asserts itself. Then comes the epilogue, the same for all: no exchange goes on, all permits
are back, no client connection and no task is left, nobody met an exception that nobody caught, and a request on a new
connection is served as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest
from _pytest.mark import ParameterSet
from support.gateway import Gateway, running
from support.origin import Origin, Peer, Script, serve
from support.raw import Response, ask, connect, post
from support.scene import until

from onwards_py.app import Application
from onwards_py.config.parse import parse
from onwards_py.limits.counters import Limiter

WELL = "well"
"""The target that nothing ever happens to."""


class Told(NamedTuple):
    """What the access log says of an exchange. ``code`` is that of an error of ours."""

    status: int
    outcome: str
    code: str | None = None
    attempts: int = 1


SERVED = Told(200, "done")


def limiters_of(application: Application) -> list[Limiter]:
    """Those of all targets, providers and keys."""
    live = application.holder._live
    return [*live._limiters.values(), *live._keys._by_id.values()]


@dataclass(frozen=True, slots=True)
class Defect:
    """What is wrong with a gateway. ``put_in`` puts a broken part in the place of a good one, before the first request;
    ``relay`` is what becomes, on their way to the gateway, of the bytes that clients send."""

    name: str
    put_in: Callable[[Application], None] | None = None
    relay: Callable[[bytes], bytes] | None = None


class Stage:
    """The surroundings of one case. ``go`` is set by clients, and waited for by providers, where the order matters."""

    def __init__(self, stack: AsyncExitStack, lane: bool, defect: Defect | None) -> None:
        self._stack = stack
        self._defect = defect
        self._origins: list[Origin] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self._gateway: Gateway | None = None
        self._healthy: Origin | None = None
        self._relay_port = 0
        self.lane = lane
        self.go = asyncio.Event()
        self.ended = False  # the case has stopped the gateway

    @property
    def gateway(self) -> Gateway:
        assert self._gateway is not None, "no gateway was started"
        return self._gateway

    @property
    def port(self) -> int:
        """Where clients are to connect."""
        return self._relay_port or self.gateway.port

    async def origin(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> Origin:
        """An upstream that listens until the case is over. See `support.origin.origin`."""
        upstream = Origin(scripts or (serve(),))
        server = await asyncio.start_server(upstream.accept, "127.0.0.1", 0, ssl=tls, limit=2**28)
        upstream.port = server.sockets[0].getsockname()[1]
        self._stack.push_async_callback(upstream.close)
        self._stack.callback(server.close)
        self._origins.append(upstream)
        return upstream

    def keep(self, sock: socket.socket) -> socket.socket:
        """A socket that is closed when the case is over."""
        return self._stack.enter_context(closing(sock))

    def folder(self) -> Path:
        """An empty folder that is gone when the case is over."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory()))

    async def _text(self, targets: Mapping[str, object], **top: object) -> str:
        """A configuration with one target more: a healthy one."""
        if self._healthy is None:
            self._healthy = await self.origin()
        return json.dumps({"targets": {**targets, WELL: {"url": self._healthy.url}}, **top})

    async def reload(self, targets: Mapping[str, object], **top: object) -> None:
        """Put another configuration into force. Raises ConfigError."""
        text = await self._text(targets, **top)
        self.gateway.application.apply(parse(text, "targets.yaml", {}))

    async def start(self, targets: Mapping[str, object], **top: object) -> Gateway:
        """Run a gateway until the case is over."""
        self._gateway = gateway = await self._stack.enter_async_context(
            running(parse(await self._text(targets, **top), "targets.yaml", {}).snapshot, lane=self.lane)
        )
        if self._defect is not None and self._defect.put_in is not None:
            self._defect.put_in(gateway.application)
        if self._defect is not None and self._defect.relay is not None:
            self._relay_port = (await self.origin(_relaying(gateway.port, self._defect.relay))).port
        self._tasks = asyncio.all_tasks()
        return gateway

    async def single(self, *scripts: Script, server: object = None, **options: object) -> Origin:
        """A gateway whose target ``m`` has one provider, which follows ``scripts``; ``options`` are the target's."""
        upstream = await self.origin(*scripts)
        await self.start({"m": {"url": upstream.url, **options}}, server=server or {})
        return upstream

    async def ask(self, request: bytes = post()) -> Response:
        """One request on a connection of its own; ``go`` is set once the head of the response is here."""
        async with connect(self.port) as client:
            await client.send(request)
            response = await client.head()
            self.go.set()
            await client.rest(response, to_head=request.startswith(b"HEAD "))
            return response

    def held(self) -> int:
        """Permits held at this moment, over all targets, providers and keys, and exchanges that wait for one."""
        return sum(limiter.in_flight for limiter in self._limiters()) + self.waiting()

    def waiting(self) -> int:
        """Places taken in lines, over all limits."""
        return sum(limiter.queue.waiting for limiter in self._limiters() if limiter.queue is not None)

    def _limiters(self) -> list[Limiter]:
        return limiters_of(self.gateway.application)

    async def epilogue(self) -> None:
        """What must hold after every case."""
        application = self.gateway.application
        await until(lambda: application.proxy.in_flight == 0)
        assert self.held() == 0, "a permit was not given back"
        await until(lambda: application._load.connections == 0)
        await until(lambda: application._load.buffered == 0)
        if not self.ended:
            response = await ask(self.port, post(b'{"model":"%b"}' % WELL.encode()))
            assert (response.status, response.body) == (200, b'{"ok":true}'), "the proxy no longer serves"
        await until(lambda: not self._strangers())

    def _strangers(self) -> set[asyncio.Task[object]]:
        """Tasks that were not there when the gateway had started, and are nobody's script."""
        scripts = {task for upstream in self._origins for task in upstream._tasks}
        return asyncio.all_tasks() - self._tasks - scripts - {asyncio.current_task()}

    def failures(self) -> list[BaseException]:
        """What scripts of providers let out; that the healthy one waited in vain for another request is no failure."""
        found = [(upstream, error) for upstream in self._origins for error in upstream.errors]
        fine = (asyncio.CancelledError, TimeoutError)
        return [e for upstream, e in found if not isinstance(e, fine if upstream is self._healthy else fine[:1])]


Play = Callable[[Stage], Awaitable[Sequence[Told] | None]]
"""None: its exchanges may end in whichever way, if only not by a defect of ours."""


@dataclass(frozen=True, slots=True)
class Case:
    """``number`` is that of the fault catalogue: its letter and its number. ``known``: why the gateway fails it yet."""

    number: str
    name: str
    play: Play
    known: str | None = None
    behind: bool = False
    """What the case shows lies behind the doors: see the marker ``either_door``."""

    @property
    def id(self) -> str:
        return f"{self.number} {self.name}"


def _relaying(port: int, change: Callable[[bytes], bytes]) -> Script:
    """Pass on to ``port``, changed, what a client sends, and back what is answered."""

    async def script(client: Peer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def back() -> None:
            while data := await reader.read(65536):
                await client.send(data)
            client.fin()

        async with asyncio.TaskGroup() as group:
            group.create_task(back())
            while data := await client._reader.read(65536):
                writer.write(change(data))
            writer.close()

    return script


P = TypeVar("P", bound=Play)


class Table(list[Case]):
    """The cases of one letter."""

    def case(self, number: str, name: str, known: str | None = None) -> Callable[[P], P]:
        """Decorator: this function plays a case."""

        def add(play: P) -> P:
            self.append(Case(number, name, play, known))
            return play

        return add

    def parameters(self) -> list[ParameterSet]:
        """The cases for `pytest.mark.parametrize`; what is known to fail must fail."""
        return [pytest.param(case, id=case.id, marks=_marks(case)) for case in self]


def _marks(case: Case) -> list[pytest.MarkDecorator]:
    expected = [pytest.mark.xfail(strict=True, reason=case.known)] if case.known is not None else []
    return expected + ([pytest.mark.either_door] if case.behind else [])


async def perform(case: Case, *, lane: bool, defect: Defect | None = None) -> None:
    """Play a case and its epilogue. Raises AssertionError if the gateway, perhaps with a ``defect``, fails it."""
    unheard: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(str(context)))
    async with AsyncExitStack() as stack:
        stage = Stage(stack, lane, defect)
        expected = await case.play(stage)
        await stage.epilogue()
    for failure in stage.failures():
        raise failure
    lines = [line for line in stage.gateway.lines() if line["target"] != WELL]
    told = [(line["status"], line["outcome"], line["code"], line["attempts"]) for line in lines]
    assert expected is None or Counter(told) == Counter(tuple(each) for each in expected)
    assert [line for line in lines if line["outcome"] == "internal"] == []
    assert not unheard, "an exception that nobody caught"
