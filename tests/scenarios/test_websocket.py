"""WebSocket handshakes are forwarded, and then the connection is a tunnel, over both doors."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.gateway import running
from support.origin import Peer, origin, serve
from support.raw import End, connect, get, post
from support.targets import single, snapshot

from onwards_py.config.parse import parse
from onwards_py.model.snapshot import Snapshot

pytestmark = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])


def snapshot_for(port: int, extra: str = "") -> Snapshot:
    text = f"targets:\n  m:\n    url: http://127.0.0.1:{port}/v1\n    onwards_key: sk-provider\n{extra}"
    return parse(text, "targets.yaml", {}).snapshot


class Provider:
    """A real WebSocket server that echoes, and records its handshakes."""

    def __init__(self) -> None:
        self.handshakes: list[web.Request] = []
        self.port = 0
        self.closed = asyncio.Event()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.handshakes.append(request)
        if request.query.get("refuse"):
            return web.json_response({"error": {"message": "no"}}, status=403)
        socket = web.WebSocketResponse(protocols=("realtime",))
        await socket.prepare(request)
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await socket.send_str("echo " + message.data)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    await socket.send_bytes(message.data)
        finally:
            self.closed.set()
        return socket


@pytest.fixture
async def provider(aiohttp_server: Callable[[web.Application], Awaitable[TestServer]]) -> Provider:
    provider = Provider()
    app = web.Application()
    app.router.add_get("/v1/realtime", provider.serve)
    port = (await aiohttp_server(app)).port
    assert port is not None
    provider.port = port
    return provider


async def test_messages_go_both_ways_and_the_close_reaches_the_other_side(provider: Provider, lane: bool) -> None:
    """The handshake has the provider's credential instead of the client's. Large messages pass unchanged."""
    async with asyncio.timeout(10), running(snapshot_for(provider.port), lane=lane) as gateway:
        async with aiohttp.ClientSession() as session:
            headers = {"Authorization": "Bearer sk-client"}
            url = f"{gateway.url}/v1/realtime?model=m"
            async with session.ws_connect(url, headers=headers, protocols=("realtime",), max_msg_size=0) as socket:
                assert socket.protocol == "realtime"
                await socket.send_str("hello")
                assert (await socket.receive_str()) == "echo hello"
                blob = bytes(range(256)) * 8000
                await socket.send_bytes(blob)
                assert (await socket.receive_bytes()) == blob
                assert gateway.held_permits() == 2  # pool and provider, for as long as the tunnel lasts
        await provider.closed.wait()
        assert provider.handshakes[0].headers["Authorization"] == "Bearer sk-provider"
        assert provider.handshakes[0].query_string == "model=m"
    (line,) = gateway.lines()
    assert (line["status"], line["outcome"]) == (101, "done")


async def test_a_renamed_model_is_renamed_in_the_query(provider: Provider, lane: bool) -> None:
    snapshot = snapshot_for(provider.port, "    onwards_model: org/real model\n")
    async with asyncio.timeout(10), running(snapshot, lane=lane) as gateway:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{gateway.url}/v1/realtime?a=1&model=m&b=2"):
            pass
    assert provider.handshakes[0].raw_path.endswith("?a=1&model=org%2Freal%20model&b=2")


async def test_a_declined_handshake_is_passed_on_as_it_was(provider: Provider, lane: bool) -> None:
    async with asyncio.timeout(10), running(snapshot_for(provider.port), lane=lane) as gateway:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(f"{gateway.url}/v1/realtime?model=m&refuse=1")
    assert caught.value.status == 403


@pytest.mark.parametrize(("query", "status"), [("?model=nope", 404), ("", 400), ("?model=m&model=m", 400)])
async def test_a_handshake_without_a_known_model_is_refused(
    provider: Provider, lane: bool, query: str, status: int
) -> None:
    async with asyncio.timeout(10), running(snapshot_for(provider.port), lane=lane) as gateway:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(f"{gateway.url}/v1/realtime{query}")
    assert caught.value.status == status
    assert provider.handshakes == []


async def test_an_unreachable_provider_is_503(lane: bool, unused_tcp_port: int) -> None:
    async with asyncio.timeout(10), running(snapshot_for(unused_tcp_port), lane=lane) as gateway:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(f"{gateway.url}/v1/realtime?model=m")
    assert caught.value.status == 503


async def test_a_client_that_vanishes_ends_the_providers_side(provider: Provider, lane: bool) -> None:
    async with asyncio.timeout(10), running(snapshot_for(provider.port), lane=lane) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(
            b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        writer.transport.abort()
        await provider.closed.wait()


async def test_a_local_model_is_not_served_over_websocket(lane: bool) -> None:
    """The response is an immediate 426, after which Codex uses HTTP at once (it repeats the attempt five times after
    any other status)."""
    snapshot = parse("targets:\n  m:\n    local: {engine: echo}\n", "targets.yaml", {}).snapshot
    async with asyncio.timeout(10), running(snapshot, lane=lane) as gateway, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(f"{gateway.url}/v1/responses?model=m")
    assert caught.value.status == 426


OFFERS = {
    "in the middle": ["realtime, openai-insecure-api-key.sk-client, openai-beta.realtime-v1"],
    "first, without spaces": ["openai-insecure-api-key.sk-client,realtime,openai-beta.realtime-v1"],
    "in a line of its own": ["realtime, openai-beta.realtime-v1", "openai-insecure-api-key.sk-client"],
}


async def handshake(port: int, offers: list[str], fields: str = "") -> str:
    """The head of a successful handshake response, for browsers."""
    lines = "".join(f"Sec-WebSocket-Protocol: {offer}\r\n" for offer in offers)
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET /v1/realtime?model=m HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"{lines}{fields}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
    return head.decode()


@pytest.mark.parametrize("credential", ["    onwards_key: sk-provider\n", ""], ids=["ours", "none"])
@pytest.mark.parametrize("offer", OFFERS)
async def test_a_key_in_the_subprotocols_is_read_by_the_proxy(
    provider: Provider, lane: bool, offer: str, credential: str
) -> None:
    """Browsers can send a key only there. The provider gets the other subprotocols, and answers with one of them."""
    text = f"targets:\n  m:\n    url: http://127.0.0.1:{provider.port}/v1\n    keys: [sk-client]\n{credential}"
    snapshot = parse(text, "targets.yaml", {}).snapshot
    async with running(snapshot, lane=lane) as gateway:
        head = await handshake(gateway.port, OFFERS[offer])
        assert head.startswith("HTTP/1.1 101 ")
        assert "Sec-WebSocket-Protocol: realtime\r\n" in head
        await provider.closed.wait()
    (received,) = provider.handshakes
    assert received.headers.getall("Sec-WebSocket-Protocol") == ["realtime, openai-beta.realtime-v1"]
    assert received.headers.get("Authorization") == ("Bearer sk-provider" if credential else None)
    assert not any(b"sk-client" in name + value for name, value in received.raw_headers)
    assert b"sk-client" not in gateway.log.getvalue()


@pytest.mark.parametrize(
    ("offers", "fields"),
    [
        (["realtime, openai-insecure-api-key.sk-wrong"], ""),
        (["realtime, openai-insecure-api-key."], ""),
        (["realtime, sk-client"], ""),
        (["realtime, openai-insecure-api-key.sk-client, openai-insecure-api-key.sk-other"], ""),
        (["realtime, openai-insecure-api-key.sk-client"], "X-Api-Key: sk-other\r\n"),
    ],
)
async def test_a_wrong_key_in_the_subprotocols_is_refused(
    provider: Provider, lane: bool, offers: list[str], fields: str
) -> None:
    text = f"targets:\n  m:\n    url: http://127.0.0.1:{provider.port}/v1\n    keys: [sk-client]\n"
    async with running(parse(text, "targets.yaml", {}).snapshot, lane=lane) as gateway:
        head = await handshake(gateway.port, offers, fields)
    assert head.startswith(("HTTP/1.1 401 ", "HTTP/1.1 403 "))
    assert provider.handshakes == []


async def test_a_key_as_the_only_subprotocol_removes_the_field(provider: Provider, lane: bool) -> None:
    async with running(snapshot_for(provider.port), lane=lane) as gateway:
        assert "Sec-WebSocket-Protocol" not in await handshake(gateway.port, ["openai-insecure-api-key.sk-client"])
        await provider.closed.wait()
    assert "Sec-WebSocket-Protocol" not in provider.handshakes[0].headers


HANDSHAKE = get(
    b"/v1/realtime?model=m",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
)
SWITCH = b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
FAULTY = {
    "101 of HTTP/2.0": b"HTTP/2.0 101 X" + SWITCH,
    "101 with ESC in its reason": b"HTTP/1.1 101 X\x1b" + SWITCH,
    "101 that switches to nothing": b"HTTP/1.1 101 X\r\n\r\n",
    "a refusal of RTSP": b"RTSP/1.0 403 X\r\nContent-Length: 0\r\n\r\n",
    "a refusal in a bad chunk": b"HTTP/1.1 403 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a refusal in an unknown transfer coding": b"HTTP/1.1 403 X\r\nTransfer-Encoding: gzip\r\n\r\nab",
}


@pytest.mark.parametrize("case", FAULTY)
async def test_an_invalid_handshake_response_is_502_at_once(lane: bool, case: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request_head()
        await peer.send(FAULTY[case])
        await peer.gone()

    async with origin(script) as upstream, running(single(upstream.url), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(HANDSHAKE)
            response = await asyncio.wait_for(client.response(), 3)  # less than a refused body is waited for
    assert (response.status, response.error["code"]) == (502, "bad_gateway")


@pytest.mark.parametrize(
    ("sent", "body", "end"),
    [
        (b"HTTP/1.1 403 X\r\nContent-Length: 5\r\n\r\nab", b"ab", End.CLOSED),
        (b"HTTP/1.1 403 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", b"ab", End.CLOSED),
        (b"HTTP/1.1 403 X\r\n\r\nab", b"ab", End.WHOLE),
    ],
    ids=["of a length", "in chunks", "up to the close"],
)
async def test_a_cut_refusal_of_a_handshake_does_not_look_complete(
    lane: bool, sent: bytes, body: bytes, end: End
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request_head()
        await peer.send(sent)

    async with origin(script) as upstream, running(single(upstream.url), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(HANDSHAKE)
            response = await client.response()
    assert (response.status, response.body, response.end) == (403, body, end)
    assert gateway.lines()[0]["outcome"] == ("done" if end is End.WHOLE else "upstream_cut")


async def test_a_handshake_behind_another_request_becomes_a_tunnel(lane: bool) -> None:
    """This holds even if the queue of pipelined requests is full and the connection was not read meanwhile: reading
    resumes."""

    async def tunnel(peer: Peer) -> None:
        await peer.request_head()
        await peer.send(b"HTTP/1.1 101 X" + SWITCH)
        await peer.request_head()
        await peer.send(b"heard")

    async with origin(serve(), tunnel) as upstream:
        targets = snapshot({"m": {"url": upstream.url}}, server={"max_pipelined": 1})
        async with running(targets, lane=lane) as gateway, connect(gateway.port) as client:
            await client.send(post(b'{"model":"m"}') + HANDSHAKE)
            assert (await client.response()).status == 200
            assert (await client.head()).status == 101
            await client.send(b"said\r\n\r\n")
            assert await client.exactly(5) == b"heard"
