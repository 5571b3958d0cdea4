"""Faults of providers, each in front of three pools: alone, beside a healthy one, and where what was sent may be
sent again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from fault_stage import SERVED, Case, Play, Stage, Told
from support.origin import Peer, Script, serve
from support.raw import End, Response, get, post

QUICK = {"first_byte": "100ms"}
BODY = b'{"model":"m","n":[1, 2 ,3]}'
FALLBACK: dict[str, object] = {"enabled": True, "on_status": [429, 5]}
UNREACHABLE = Told(503, "upstream_unreachable", "upstream_unreachable")
TOO_LATE = Told(504, "upstream_timeout", "gateway_timeout")
INVALID = Told(502, "upstream_invalid", "bad_gateway")
CUT = Told(200, "upstream_cut")


class Then(Enum):
    """What a pool with another provider does about a fault."""

    MOVES = "the next is asked"
    SENT = "a POST may have been worked on and billed: the next is asked only with retry_sent, or for GET"
    COMMITTED = "the response has begun: nobody is asked any more"


Place = Callable[[Stage], Awaitable[Mapping[str, object]]]
"""Makes the provider and says how a configuration names it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """``told``: what becomes of a POST if there is nobody else. ``body``: what of the answer can have arrived.
    ``heals``: the next request to the same provider is served. ``pools``: it is played in pools too; False where
    another fault has the same outcome, since a pool knows nothing else of a fault."""

    number: str
    name: str
    place: Place
    told: Told
    then: Then
    body: bytes = b""
    heals: bool = True
    options: Mapping[str, object] = field(default_factory=dict)
    known: str | None = None
    pools: bool = True

    def cases(self) -> list[Case]:
        """The fault alone, and in pools."""
        alone = Case(self.number, f"{self.name}, alone", self._alone, self.known)
        plays: dict[str, Play] = {}
        if not self.pools:
            return [alone]
        if self.then is Then.MOVES:
            plays["the next serves"] = self._moves()
        elif self.then is Then.SENT:
            plays["POST stays"] = self._stays()
            plays["POST opted in"] = self._moves(retry_sent=True)
            plays["GET moves on"] = self._moves(get_=True)
        else:
            plays["nobody else is asked"] = self._stays(retry_sent=True)
        pools = [Case(self.number, f"{self.name}, {what}", play, self.known, True) for what, play in plays.items()]
        return [alone, *pools]

    async def _alone(self, stage: Stage) -> list[Told]:
        await stage.start({"m": {**await self.place(stage), **self.options}})
        self._judge(await stage.ask(post(BODY)))
        if not self.heals:
            return [self.told]
        following = await stage.ask(post(BODY))
        assert (following.status, following.body) == (200, b'{"ok":true}')
        return [self.told, SERVED]

    def _moves(self, *, retry_sent: bool = False, get_: bool = False) -> Play:
        async def play(stage: Stage) -> list[Told]:
            second = await stage.origin()
            await self._start_pool(stage, second.url, retry_sent)
            response = await stage.ask(get(b"/v1/x", b"Model-Override: m\r\n") if get_ else post(BODY))
            assert (response.status, response.body, response.end) == (200, b'{"ok":true}', End.WHOLE)
            assert [request.body for request in second.requests] == [b"" if get_ else BODY]
            return [SERVED._replace(attempts=2)]

        return play

    def _stays(self, *, retry_sent: bool = False) -> Play:
        async def play(stage: Stage) -> list[Told]:
            second = await stage.origin()
            await self._start_pool(stage, second.url, retry_sent)
            self._judge(await stage.ask(post(BODY)))
            assert not second.peers
            return [self.told]

        return play

    async def _start_pool(self, stage: Stage, second: str, retry_sent: bool) -> None:
        first = {**await self.place(stage), **self.options}
        fallback = {**FALLBACK, "retry_sent": retry_sent}
        await stage.start({"m": {"strategy": "priority", "providers": [first, {"url": second}], "fallback": fallback}})

    def _judge(self, response: Response) -> None:
        assert response.status == self.told.status
        if self.told.code is not None:
            assert (response.error["code"], response.end) == (self.told.code, End.WHOLE)
        elif self.told.outcome == "done":
            assert (response.body, response.end) == (self.body, End.WHOLE)
        else:
            assert response.end in (End.CLOSED, End.RESET), "a cut answer was presented as whole"
            assert self.body.startswith(response.body)


class Finish(Enum):
    """How a provider leaves."""

    FIN = "FIN"
    RST = "RST"
    STAYS = "stays"  # until the gateway leaves


def sends(*pieces: bytes, then: Finish = Finish.FIN, waits: bool = False) -> Place:
    """A provider that takes a request, sends these bytes and leaves; its next connection serves.

    ``waits``: it leaves when the client has the head, so that a reset cannot overtake what was sent.
    """

    def script_of(stage: Stage) -> Script:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(*pieces)
            if waits:
                await stage.go.wait()
            await leave(peer, then)

        return script

    return scripted(script_of)


def scripted(*scripts: Callable[[Stage], Script]) -> Place:
    """A provider whose connections follow these scripts, one each; all further ones serve."""

    async def place(stage: Stage) -> Mapping[str, object]:
        upstream = await stage.origin(*(script(stage) for script in scripts), serve())
        return {"url": upstream.url}

    return place


async def leave(peer: Peer, how: Finish) -> None:
    """End a connection in this way."""
    if how is Finish.RST:
        peer.rst()
    elif how is Finish.STAYS:
        await peer.gone()
