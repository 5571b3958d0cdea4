"""``cut_notice``: a native stream that is cut gets a last event of its dialect that reports this; its end stays cut."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.gateway import Gateway, running
from support.origin import STREAM_HEAD, Peer, Script, answer, chunk, origin, refused_port
from support.raw import End, Response, ask, post
from support.scene import proxied
from support.targets import snapshot

from onwards_py.messages import Ending
from onwards_py.transcode.cut_notice import CutNotice
from onwards_py.wire.rechunk import Rechunker

CHAT, RESPONSES, MESSAGES = b"/v1/chat/completions", b"/v1/responses", b"/v1/messages"
EVENTS = {
    CHAT: b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
    RESPONSES: b'event: response.created\ndata: {"type":"response.created","sequence_number":0}\n\n'
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"a",'
    b'"sequence_number":7}\n\n',
    MESSAGES: b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"a"}}\n\n',
}
BROKE = "The connection to the provider broke. What came before is not the whole answer; please try again."
SILENT = "The provider sent nothing for too long. What came before is not the whole answer; please try again."
NOTICES: dict[bytes, tuple[bytes, object]] = {
    CHAT: (
        b"data: ",
        {"error": {"message": BROKE, "type": "server_error", "param": None, "code": "server_error"}},
    ),
    RESPONSES: (
        b"event: error\ndata: ",
        {"type": "error", "code": "server_error", "message": BROKE, "param": None, "sequence_number": 8},
    ),
    MESSAGES: (b"event: error\ndata: ", {"type": "error", "error": {"type": "api_error", "message": BROKE}}),
}


def cutting(*pieces: bytes, silent: bool = False) -> Script:
    """Begin a stream with ``pieces``, and then close the connection or stay silent."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, *map(chunk, pieces))
        if silent:
            await peer.gone()

    return script


async def told(lane: bool, script: Script, path: bytes = CHAT, **options: object) -> tuple[Response, Gateway]:
    async with proxied(lane, script, **{"cut_notice": True, **options}) as (_, gateway):
        return await ask(gateway.port, post(b'{"model":"m","stream":true}', path)), gateway


@pytest.mark.parametrize("hold", [False, True], ids=["at once", "held"])
@pytest.mark.parametrize("path", EVENTS)
async def test_a_cut_stream_ends_with_an_error_event_of_its_dialect(lane: bool, path: bytes, hold: bool) -> None:
    """The error event follows complete events only. An incomplete event and a regular end mark are not sent."""
    async with origin(cutting(EVENTS[path] + b"data: hal")) as upstream:
        providers = [{"url": upstream.url}, {"url": f"http://127.0.0.1:{refused_port()}"}]
        target: dict[str, object] = {"strategy": "priority", "providers": providers, "cut_notice": True}
        if hold:
            target["fallback"] = {"enabled": True, "on_status": [5], "hold": {"max_time": "5s"}}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            response = await ask(gateway.port, post(b'{"model":"m","stream":true}', path))
    start, notice = NOTICES[path]
    assert response.body.startswith(EVENTS[path] + start)
    assert json.loads(response.body[len(EVENTS[path] + start) :]) == notice
    assert response.body.endswith(b"}\n\n")
    assert response.end is End.CLOSED
    assert gateway.lines()[0]["outcome"] == "upstream_cut"


@pytest.mark.parametrize("path", EVENTS)
async def test_a_stalled_stream_ends_with_an_error_event(lane: bool, path: bytes) -> None:
    response, gateway = await told(lane, cutting(EVENTS[path], silent=True), path, timeouts={"idle": "50ms"})
    assert SILENT.encode() in response.body
    assert (b"timeout_error" in response.body) is (path == MESSAGES)
    assert (response.end, gateway.lines()[0]["outcome"]) == (End.CLOSED, "upstream_idle")


@pytest.mark.either_door
@pytest.mark.parametrize(
    "last",
    [
        b"data: [DONE]\n\n",
        b'event: response.completed\ndata: {"type":"response.completed"}\n\n',
        b'event: message_stop\ndata: {"type": "message_stop"}\n\n',
        b'data: {"error":{"message":"no"}}\n\n',
    ],
)
async def test_a_stream_with_an_end_mark_gets_no_error_event(lane: bool, last: bytes) -> None:
    """Its client has the complete answer."""
    response, _ = await told(lane, cutting(EVENTS[CHAT], last))
    assert (response.body, response.end) == (EVENTS[CHAT] + last, End.CLOSED)


@pytest.mark.parametrize(
    ("path", "api"),
    [(b"/v1/responses/resp_1?stream=true", RESPONSES), (b"/v1/threads/t/messages", CHAT), (b"/v1/completions", CHAT)],
)
def test_the_path_decides_the_form_of_the_error_event(path: bytes, api: bytes) -> None:
    """The stream of a stored response gets an event of the Responses API. An unknown path gets an event of Chat
    Completions."""
    notice = CutNotice(path, Rechunker(1000))
    notice.feed(EVENTS[api])
    start, told = NOTICES[api]
    assert json.loads(notice.text(Ending.RESET).removeprefix(start)) == told


@pytest.mark.parametrize("path", EVENTS)
def test_comments_do_not_affect_the_error_event(path: bytes) -> None:
    """A comment neither hides an end mark before it nor changes the number of the next event."""
    notice = CutNotice(path, Rechunker(1000))
    for piece in (EVENTS[path], b": ping\n\n", b"", b": ping\n\n"):
        assert notice.feed(piece) == piece
    start, told = NOTICES[path]
    assert json.loads(notice.text(Ending.RESET).removeprefix(start)) == told
    for piece in (b"data: [DONE]\n\n", b": ping\n\n"):
        notice.feed(piece)
    assert notice.text(Ending.RESET) == b""


async def test_part_of_a_large_event_does_not_become_a_complete_event(lane: bool) -> None:
    large = b"data: " + b"x" * 2000
    response, _ = await told(lane, cutting(large), max_event="1kB")
    assert (response.body, response.end) == (large, End.CLOSED)


async def test_a_stream_cut_at_an_oversized_event_ends_with_an_error_event(lane: bool) -> None:
    options = {"max_event": "1kB", "on_large_event": "cut"}
    response, _ = await told(lane, cutting(EVENTS[CHAT], b"data: " + b"x" * 2000, silent=True), **options)  # type: ignore[arg-type]
    assert response.body.startswith(EVENTS[CHAT] + b'data: {"error":')
    assert b"limit of size" in response.body


@pytest.mark.parametrize("options", [{"cut_notice": False}, {"rechunk": False}], ids=["by default", "not re-chunked"])
async def test_other_streams_get_no_error_event(lane: bool, options: dict[str, object]) -> None:
    response, _ = await told(lane, cutting(EVENTS[CHAT]), **options)  # type: ignore[arg-type]
    assert (response.body, response.end) == (EVENTS[CHAT], End.CLOSED)


async def test_a_body_with_a_content_length_gets_no_error_event(lane: bool) -> None:
    """An added event would be read as part of the announced body."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(EVENTS[CHAT] * 2, fields=b"Content-Type: text/event-stream\r\n")[: -len(EVENTS[CHAT])])

    response, _ = await told(lane, script)
    assert (response.body, response.end) == (EVENTS[CHAT], End.CLOSED)


async def test_a_client_that_disconnected_gets_no_error_event(lane: bool) -> None:
    """The provider's stream is closed, and the proxy sends nothing more."""
    left = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(EVENTS[CHAT]))
        await peer.gone()
        left.set()

    async with proxied(lane, script, cut_notice=True) as (_, gateway):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(post())
        await reader.readuntil(b"\n\n")
        writer.close()
        await asyncio.wait_for(left.wait(), 5)
    assert gateway.lines()[0]["outcome"] == "client_gone_streaming"
