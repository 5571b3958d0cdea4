"""Parts that are broken: transports around a good one, and what stands around its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import TypeVar

import msgspec
from fault_stage import limiters_of

from onwards_py.app import Application
from onwards_py.eager import OneShot, StepTask
from onwards_py.messages import BodySink, Ending, Fault, Filter, ResponseHead, Source
from onwards_py.model.provider import Provider, Timeouts
from onwards_py.transports.base import OutboundRequest, Transport, TransportError, UpstreamResponse

FOREVER = 3600.0
T = TypeVar("T")


class Around:
    """A transport around another one, as good as that; defects override what they spoil."""

    def __init__(self, inner: Transport, application: Application) -> None:
        self.inner = inner
        self.application = application

    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        return await self.inner.send(provider, request)

    async def close(self) -> None:
        await self.inner.close()


class Answer:
    """A response around another one, as good as that."""

    def __init__(self, inner: UpstreamResponse, around: Around) -> None:
        self.inner = inner
        self.around = around

    @property
    def head(self) -> ResponseHead:
        return self.inner.head

    @property
    def repeated(self) -> bool:
        return self.inner.repeated

    def complete_body(self) -> bytes | None:
        return self.inner.complete_body()

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        return await self.inner.pump(pipeline, downstream)

    async def read(self, limit: int) -> bytes | None:
        return await self.inner.read(limit)

    def discard(self) -> None:
        self.inner.discard()


class Told:
    """An answer that was never given."""

    head = ResponseHead(200, b"OK", b"\r\nContent-Length: 0")

    def complete_body(self) -> bytes | None:
        return b""

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        return Ending.DONE

    async def read(self, limit: int) -> bytes | None:
        return b""

    def discard(self) -> None:
        """There is nothing."""


async def without_end(coroutine: Coroutine[object, object, T]) -> T:
    """What ``coroutine`` gives; it goes on when whoever asked is cancelled."""
    result: OneShot[T] = OneShot()

    async def run() -> None:
        result.set(await coroutine)

    StepTask(run(), lambda error: None if error is None else result.fail(error))
    return await result


# Around the answer.


class CleanEnd(Answer):
    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        await self.inner.pump(pipeline, downstream)
        return Ending.DONE


class WaitsForAll(Answer):
    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        body = await self.inner.read(2**30)
        if body is None:
            return Ending.EOF
        downstream.write(body)
        return Ending.DONE


class NoBackPressure(Answer):
    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        return await self.inner.pump(pipeline, Unfed(downstream))


class Unfed:
    """A sink that never says whom to pause."""

    def __init__(self, inner: BodySink) -> None:
        self.write = inner.write
        self.flush = inner.flush

    def set_source(self, source: Source) -> None:
        """And forgets it."""


class EarlyRelease(Answer):
    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        held = [limiter for limiter in limiters_of(self.around.application) if limiter.in_flight]
        for limiter in held:
            limiter.in_flight -= 1
        try:
            return await self.inner.pump(pipeline, downstream)
        finally:
            for limiter in held:
                limiter.in_flight += 1


class WorksOn(Answer):
    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        return await without_end(self.inner.pump(pipeline, downstream))


class KeepsNominated(Answer):
    @property
    def head(self) -> ResponseHead:
        return without(self.inner.head, b"connection")


class NoRetryAfter(Answer):
    @property
    def head(self) -> ResponseHead:
        return without(self.inner.head, b"retry-after")


class AlwaysFine(Answer):
    @property
    def head(self) -> ResponseHead:
        head = self.inner.head
        return ResponseHead(200, b"OK", head.lines) if head.status >= 500 else head


def without(head: ResponseHead, name: bytes) -> ResponseHead:
    kept = [field for field in head.fields if field[0].lower() != name]
    return ResponseHead.of(head.status, head.reason, kept)


def answers(kind: type[Answer]) -> type[Around]:
    """The transport all of whose answers are of this kind."""

    class Answering(Around):
        async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
            return kind(await self.inner.send(provider, request), self)

    return Answering


class NoEventStream(Answer):
    @property
    def head(self) -> ResponseHead:
        return without(self.inner.head, b"content-type")


# Around the attempt.


class TellsFine(Around):
    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        try:
            return await self.inner.send(provider, request)
        except TransportError:
            return Told()  # type: ignore[return-value]


class SendsAgain(Around):
    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        try:
            return await self.inner.send(provider, request)
        except TransportError:
            return await self.inner.send(provider, request)


class TakesSentForUnsent(Around):
    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        try:
            return await self.inner.send(provider, request)
        except TransportError as error:
            raise TransportError(Fault.CONNECT, error.detail) from error


class ForgetsPermit(Around):
    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        try:
            return await self.inner.send(provider, request)
        except TransportError:
            for target in self.application.holder.current.table.targets:
                for member in target.endpoints:
                    member.limiter.in_flight += member.provider is provider
            raise


class LeavesTask(Around):
    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        try:
            return await self.inner.send(provider, request)
        except TransportError:
            self.left = asyncio.get_running_loop().create_task(asyncio.sleep(FOREVER))
            raise


class MovesOnForClients(Around):
    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        response = await self.inner.send(provider, request)
        if 400 <= response.head.status < 500:
            response.discard()
            raise TransportError(Fault.CONNECT, "it did not like the request")
        return response


class AsksForNobody(Around):
    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        return await without_end(self.inner.send(provider, request))


class ForwardsHopByHop(Around):
    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        head = request.head[:-2] + b"TE: trailers\r\nKeep-Alive: 1\r\n\r\n"
        return await self.inner.send(provider, msgspec.structs.replace(request, head=head))


class GoesOnElsewhere(Around):
    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        return Glued(await self.inner.send(provider, request), self, lambda: self.inner.send(provider, request))


class Glued(Answer):
    """Behind a cut answer comes another one, as if it were the rest."""

    def __init__(
        self, inner: UpstreamResponse, around: Around, again: Callable[[], Awaitable[UpstreamResponse]]
    ) -> None:
        super().__init__(inner, around)
        self.again = again

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        ending = await self.inner.pump(pipeline, downstream)
        if ending is Ending.DONE:
            return ending
        second = await self.again()
        return await second.pump(pipeline, downstream)


def patient(**seconds: float) -> type[Around]:
    """The transport that does not know some of the timeouts."""

    class Patient(Around):
        async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
            timeouts: Timeouts = replace(provider.timeouts, **seconds)
            return await self.inner.send(replace(provider, timeouts=timeouts), request)

    return Patient


class Naive(Around):
    """Keeps one connection to each origin, come what may, and takes for the answer whatever it reads first."""

    def __init__(self, inner: Transport, application: Application) -> None:
        super().__init__(inner, application)
        self.kept: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        assert provider.origin is not None
        port = provider.origin.port
        if port not in self.kept:
            self.kept[port] = await asyncio.open_connection(provider.origin.host, port)
        reader, writer = self.kept[port]
        writer.write(request.head + request.body)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
            return Read(head, await reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError) as error:
            raise TransportError(Fault.CLOSED, "closed") from error

    async def close(self) -> None:
        for _, writer in self.kept.values():
            writer.close()
        await self.inner.close()


class Read(Told):
    repeated = False

    def __init__(self, head: bytes, body: bytes) -> None:
        status, _, lines = head[9:-4].partition(b"\r\n")
        self.head = ResponseHead(int(status[:3]), status[4:], b"\r\n" + lines)
        self._body = body

    def complete_body(self) -> bytes | None:
        return self._body
