"""Helpers for the tests of the local echo transport: a loop with a virtual clock, a recording sink, requests."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from onwards_py.eager import StepTask
from onwards_py.messages import Source
from onwards_py.model.provider import EchoSettings, Provider, Timeouts
from onwards_py.transports.base import OutboundRequest
from onwards_py.transports.echo.transport import EchoTransport

T = TypeVar("T")
NOW = 1_700_000_000.75
CHAT = b"/v1/chat/completions"
RESPONSES = b"/v1/responses"


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: its clock jumps to the next timer, and a wait without a timer is an error."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.timers: list[asyncio.TimerHandle] = []
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.clock

    def call_at(
        self, when: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        self.timers.append(timer)
        return timer

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.clock + delay, callback, *args, context=context)

    @property
    def pending_timers(self) -> int:
        """The number of timers that would still fire."""
        return sum(1 for timer in self.timers if not timer.cancelled() and timer.when() > self.clock)


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        assert timeout is not None, "everything waits, and nothing will ever happen"
        self._loop.clock += timeout
        return []


class Recorder:
    """A sink that records each write with its time, and can pause after a number of writes."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.pieces: list[bytes] = []
        self.times: list[float] = []
        self.flushed_at: float | None = None
        self.source: Source | None = None
        self._stop_after = stop_after

    committed = True

    def begin(self, status: int, reason: bytes, block: bytes, length: int | None) -> None:
        raise AssertionError("a transport never begins")

    def write(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.times.append(round(asyncio.get_running_loop().time(), 6))
        if len(self.pieces) == self._stop_after and self.source is not None:
            self.source.pause_reading()

    def flush(self) -> None:
        if not self.pieces and self.flushed_at is None:
            self.flushed_at = asyncio.get_running_loop().time()

    def end(self) -> None:
        raise AssertionError("a transport never ends")

    def abort(self) -> None:
        raise AssertionError("a transport never aborts")

    def set_source(self, source: Source) -> None:
        self.source = source

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def words(self) -> list[str]:
        """The text deltas of the chat chunks, without the empty one of the role chunk."""
        deltas = [chunk["choices"][0]["delta"].get("content") for chunk in documents(self.pieces) if chunk["choices"]]
        return [delta for delta in deltas if delta]


def play(scenario: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a scenario; fail if a timer or a task remains at its end."""
    loop = VirtualLoop()
    try:
        result = loop.run_until_complete(scenario(loop))
        assert loop.pending_timers == 0, "a timer was left behind"
        assert not asyncio.all_tasks(loop), "a task was left behind"
        return result
    finally:
        loop.close()


class Driven:
    """A coroutine that runs as exchanges do: by hand, without a Task."""

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.task = StepTask(self._keep(awaitable), self._fail)

    async def _keep(self, awaitable: Awaitable[Any]) -> None:
        self.result = await awaitable

    def _fail(self, error: BaseException | None) -> None:
        self.error = error


def provider(
    settings: EchoSettings | None = None, timeouts: Timeouts | None = None, identity: str = "id-1"
) -> Provider:
    """A local provider; plain echo by default."""
    local = EchoSettings() if settings is None else settings
    return Provider(identity, "echo", local=local, timeouts=timeouts or Timeouts())


def request(target: bytes, body: object, method: bytes = b"POST", model: str = "demo") -> OutboundRequest:
    """A request; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return OutboundRequest(method, target, b"", raw, model)


def chat_request(text: str, **members: object) -> OutboundRequest:
    """A chat with one user message."""
    return request(CHAT, {"model": "demo", "messages": [{"role": "user", "content": text}], **members})


def documents(events: list[bytes]) -> list[dict[str, Any]]:
    """The JSON documents of complete events, without [DONE]. Every event must be a piece of its own."""
    found = []
    for event in events:
        assert event.endswith(b"\n\n")
        data = event.rstrip(b"\n").split(b"\n")[-1].removeprefix(b"data: ")
        if data != b"[DONE]":
            found.append(json.loads(data))
    return found


def ask(outbound: OutboundRequest, settings: EchoSettings | None = None) -> tuple[int, list[bytes]]:
    """Status and body pieces of one request to a new transport."""

    async def scenario(loop: VirtualLoop) -> tuple[int, list[bytes]]:
        transport = EchoTransport(clock=lambda: NOW)
        response = await transport.send(provider(settings), outbound)
        recorder = Recorder()
        await response.pump([], recorder)
        return response.head.status, recorder.pieces

    return play(scenario)


def ask_whole(outbound: OutboundRequest, settings: EchoSettings | None = None) -> dict[str, Any]:
    """The document of a response that must be 200."""
    status, pieces = ask(outbound, settings)
    assert status == 200, pieces
    document: dict[str, Any] = json.loads(b"".join(pieces))
    return document
