"""Fault catalogue C, of what is said in the body: an error inside a 200, nothing at all, or the first word too late."""

from __future__ import annotations

import pytest
from fault_providers import BODY, FALLBACK, Finish, leave
from fault_stage import SERVED, Case, Stage, Table, Told, perform
from support.origin import LAST_CHUNK, STREAM_HEAD, Peer, Script, answer, chunk, serve
from support.raw import End, post

HOLD: dict[str, object] = {"max_bytes": "64KiB", "max_time": "10s"}
ERROR = b'data: {"error":{"message":"overloaded","type":"server_error","code":503}}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
JSON_ERROR = answer(ERROR[6:-2], fields=b"Content-Type: application/json\r\n")
COMMENT = b": keep-alive\n\n"
CASES = Table()


def stream(*events: bytes, finish: Finish | None = None) -> Script:
    """An event stream that ends well, or by ``finish`` once the client has its head."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, *map(chunk, events))
        if finish is None:
            await peer.send(LAST_CHUNK)
        else:
            await leave(peer, finish)

    return script


FAILING = {
    "a JSON error with 200": serve(JSON_ERROR),
    "an error as the first event": stream(ERROR),
    "an error behind comments": stream(COMMENT, COMMENT, ERROR),
    "an error behind a role": stream(ROLE, ERROR),
    "a stream that says nothing": stream(COMMENT),
    "a stream that is cut before its first event": stream(finish=Finish.FIN),
    "a stream that is cut behind comments": stream(COMMENT, finish=Finish.FIN),
}


def held(name: str, script: Script) -> Case:
    """With a hold the next provider is asked, and nothing of the failed answer is seen."""

    async def play(stage: Stage) -> list[Told]:
        first, second = await stage.origin(script), await stage.origin(serve(answer(b"well")))
        providers = [{"url": first.url}, {"url": second.url}]
        fallback = {**FALLBACK, "hold": HOLD, "retry_sent": True}
        await stage.start({"m": {"strategy": "priority", "providers": providers, "fallback": fallback}})
        response = await stage.ask(post(BODY))
        assert (response.status, response.body, response.end) == (200, b"well", End.WHOLE)
        assert [request.body for request in second.requests] == [BODY]
        return [SERVED._replace(attempts=2)]

    return Case("C-opening", f"{name}, held", play)


def not_held(name: str, script: Script, told: Told) -> Case:
    """Without a hold it is the answer, byte for byte, and nobody else is asked."""

    async def play(stage: Stage) -> list[Told]:
        first, second = await stage.origin(script), await stage.origin()
        providers = [{"url": first.url}, {"url": second.url}]
        await stage.start({"m": {"strategy": "priority", "providers": providers, "fallback": FALLBACK}})
        response = await stage.ask(post(BODY))
        assert response.status == 200
        assert response.whole == (told.outcome == "done")
        assert not second.peers
        return [told]

    return Case("C-opening", f"{name}, not held", play)


CASES += [held(name, script) for name, script in FAILING.items()]
CASES += [
    not_held("an error as the first event", stream(ERROR), SERVED),
    not_held("a JSON error with 200", serve(JSON_ERROR), SERVED),
    not_held("a stream that is cut before its first event", stream(finish=Finish.FIN), Told(200, "upstream_cut")),
]


def late(name: str, events: list[bytes]) -> Case:
    """The head is there in time, the first word is not: the next is asked."""

    async def play(stage: Stage) -> list[Told]:
        first = await stage.origin(stream(*events, finish=Finish.STAYS))
        second = await stage.origin(serve(answer(b"well")))
        providers = [{"url": first.url, "timeouts": {"first_token": "100ms"}}, {"url": second.url}]
        fallback = {**FALLBACK, "hold": HOLD}
        await stage.start({"m": {"strategy": "priority", "providers": providers, "fallback": fallback}})
        assert (await stage.ask(post(BODY))).body == b"well"
        return [SERVED._replace(attempts=2)]

    return Case("C-opening", name, play)


CASES += [late("the first token is late", []), late("comments, and the first token is late", [COMMENT, COMMENT])]


@CASES.case("C-opening", "the first token is late, and there is nobody else")
async def late_alone(stage: Stage) -> list[Told]:
    """504, as for a head that is late."""
    await stage.single(stream(COMMENT, finish=Finish.STAYS), timeouts={"first_token": "100ms"})
    response = await stage.ask(post(BODY))
    assert (response.status, response.error["code"]) == (504, "gateway_timeout")
    return [Told(504, "upstream_timeout", "gateway_timeout")]


@CASES.case("C-opening", "an error behind the first word")
async def error_behind_content(stage: Stage) -> list[Told]:
    """Held to the first content only: what comes behind it is the client's to read."""
    first, second = await stage.origin(stream(WORD, ERROR)), await stage.origin()
    providers = [{"url": first.url}, {"url": second.url}]
    fallback = {**FALLBACK, "hold": HOLD}
    await stage.start({"m": {"strategy": "priority", "providers": providers, "fallback": fallback}})
    response = await stage.ask(post(BODY))
    assert (response.body, response.end) == (WORD + ERROR, End.WHOLE)
    assert not second.peers
    return [SERVED]


@CASES.case("C-opening", "slow is not empty")
async def hold_is_over(stage: Stage) -> list[Told]:
    """When the hold's time is over the stream passes as it is."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(COMMENT))
        await stage.go.wait()
        await peer.send(chunk(WORD), LAST_CHUNK)

    first, second = await stage.origin(script), await stage.origin()
    providers = [{"url": first.url}, {"url": second.url}]
    fallback = {**FALLBACK, "hold": {**HOLD, "max_time": "50ms"}}
    await stage.start({"m": {"strategy": "priority", "providers": providers, "fallback": fallback}})
    response = await stage.ask(post(BODY))
    assert (response.body, response.end) == (COMMENT + WORD, End.WHOLE)
    assert not second.peers
    return [SERVED]


@CASES.case("C-opening", "all fail inside a 200")
async def all_inside_200(stage: Stage) -> list[Told]:
    """The last one's own words are the answer."""
    upstreams = [await stage.origin(stream(ERROR)) for _ in range(2)]
    fallback = {**FALLBACK, "hold": HOLD}
    providers = [{"url": upstream.url} for upstream in upstreams]
    await stage.start({"m": {"strategy": "priority", "providers": providers, "fallback": fallback}})
    response = await stage.ask(post(BODY))
    assert response.body == ERROR
    assert [len(upstream.requests) for upstream in upstreams] == [1, 1]
    return [Told(response.status, "done", None, 2)]


@pytest.mark.parametrize("case", CASES.parameters())
async def test_an_answer_opens_badly(lane: bool, case: Case) -> None:
    """Before the first content it can still be given up, if the operator wishes; behind it never."""
    await perform(case, lane=lane)
