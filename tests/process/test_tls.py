"""TLS on both sides, and tunnels through an HTTP proxy, with real certificates and a real process."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import trustme
from support.origin import Peer, answer, origin
from support.program import clean_environment, serving
from support.raw import ask, post

BOTH_DOORS = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
ASK = post(b'{"model":"m"}')
CHAT = {"model": "m", "messages": [{"role": "user", "content": "one two three"}]}


@dataclass(frozen=True)
class Authority:
    """A certificate authority, and the file with its certificate."""

    ca: trustme.CA
    file: Path

    def context(self, *names: str, not_after: datetime | None = None) -> ssl.SSLContext:
        """The TLS context of a server with these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names, not_after=not_after).configure_cert(context)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(file)
    return Authority(ca, file)


@asynccontextmanager
async def secure_origin(context: ssl.SSLContext) -> AsyncIterator[int]:
    """An HTTPS server; the value is its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
                await reader.readexactly(length)
                writer.write(answer(b'{"secure":true}'))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def target(port: int, ca_file: Path, host: str = "localhost") -> str:
    return f"targets: {{m: {{url: 'https://{host}:{port}/v1', tls: {{ca_file: '{ca_file}'}}}}}}"


@pytest.mark.either_door
@BOTH_DOORS
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_provider_with_a_trusted_certificate_gets_requests(
    tmp_path: Path, authority: Authority, lane: bool, host: str
) -> None:
    """``tls.ca_file`` replaces the system's trust store. Names and addresses are verified."""
    async with secure_origin(authority.context(host)) as port:
        with serving(target(port, authority.file, host), tmp_path, lane=lane) as program:
            for _ in range(2):
                response = await ask(program.port, ASK)
                assert (response.status, response.body) == (200, b'{"secure":true}')


def chat(model: str) -> bytes:
    return post(b'{"model":"%b","messages":[{"role":"user","content":"x"}]}' % model.encode())


async def plain(peer: Peer) -> None:
    """A server without TLS."""
    await peer.send(answer(b"you should not read this"))
    await peer.gone()


@asynccontextmanager
async def refused(authority: Authority) -> AsyncIterator[dict[str, int]]:
    """Servers whose certificates must not be accepted, and their ports."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    contexts = {
        "wrong-name": authority.context("other.example"),
        "unknown-authority": Authority(trustme.CA(), authority.file).context("localhost"),
        "expired": authority.context("localhost", not_after=yesterday),
    }
    async with AsyncExitStack() as stack:
        ports = {name: await stack.enter_async_context(secure_origin(context)) for name, context in contexts.items()}
        yield {**ports, "plain-text": (await stack.enter_async_context(origin(plain, plain))).port}


@BOTH_DOORS
async def test_a_provider_that_cannot_be_verified_gets_no_request(
    tmp_path: Path, authority: Authority, lane: bool
) -> None:
    """No byte of the request is sent. The client gets 503 ``upstream_unreachable``; with fallback, the next provider
    answers."""
    async with refused(authority) as ports:
        targets = "".join(
            f"""
  {name}: {{url: 'https://localhost:{port}/v1', tls: {{ca_file: '{authority.file}'}}}}
  {name}-and-another:
    strategy: priority
    fallback: {{enabled: true}}
    providers:
      - {{url: 'https://localhost:{port}/v1', tls: {{ca_file: '{authority.file}'}}}}
      - {{local: {{engine: echo, text: the other}}, name: other}}"""
            for name, port in ports.items()
        )
        with serving(f"targets:{targets}\n", tmp_path, lane=lane) as program:
            for name in ports:
                response = await ask(program.port, chat(name))
                assert (response.status, response.error["code"]) == (503, "upstream_unreachable"), name
                response = await ask(program.port, chat(f"{name}-and-another"))
                assert response.status == 200, name
                assert b"the other" in response.body
            assert await asyncio.to_thread(program.stop) == 0
            assert [line["outcome"] for line in program.lines()] == ["upstream_unreachable", "done"] * len(ports)
            assert "Traceback" not in program.stderr


@dataclass
class Tunnel:
    """An HTTP proxy that knows only CONNECT. ``asked`` has the heads of the requests."""

    credential: str | None = None
    asked: list[bytes] = field(default_factory=list)
    port: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        wanted = b"Proxy-Authorization: Basic " + base64.b64encode((self.credential or "").encode())
        if self.credential is not None and wanted not in head.split(b"\r\n"):
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        host, _, port = head.split(b" ")[1].rpartition(b":")
        assert host == b"localhost"
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: tunnel\r\n\r\n")
        await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    writer.close()


@asynccontextmanager
async def tunnel(credential: str | None = None) -> AsyncIterator[Tunnel]:
    proxy = Tunnel(credential)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()


@pytest.mark.either_door
@BOTH_DOORS
@pytest.mark.parametrize("credential", [None, "user:p@ss:w/rd"], ids=["open", "basic"])
async def test_https_providers_are_reached_through_https_proxy(
    tmp_path: Path, authority: Authority, credential: str | None, lane: bool
) -> None:
    """``HTTPS_PROXY`` is used by CONNECT, with verified TLS inside. The second request reuses the tunnel."""
    async with secure_origin(authority.context("localhost")) as port, tunnel(credential) as proxy:
        user = "" if credential is None else "user:p%40ss%3Aw%2Frd@"
        env = clean_environment(HTTPS_PROXY=f"http://{user}127.0.0.1:{proxy.port}")
        with serving(target(port, authority.file), tmp_path, lane=lane, env=env) as program:
            for _ in range(2):
                assert (await ask(program.port, ASK)).body == b'{"secure":true}'
        assert [head.split(b"\r\n")[0] for head in proxy.asked] == [b"CONNECT localhost:%d HTTP/1.1" % port]
        assert b"\r\nHost: localhost:%d\r\n" % port in proxy.asked[0]


async def test_a_proxy_that_refuses_is_an_unreachable_provider(tmp_path: Path, authority: Authority) -> None:
    """After a 407 of the proxy the client gets 503 without any detail of the proxy."""
    async with secure_origin(authority.context("localhost")) as port, tunnel("user:secret") as proxy:
        env = clean_environment(HTTPS_PROXY=f"http://user:wrong@127.0.0.1:{proxy.port}")
        with serving(target(port, authority.file), tmp_path, env=env) as program:
            response = await ask(program.port, ASK)
            assert (response.status, response.error["code"]) == (503, "upstream_unreachable")
            assert response.value(b"proxy-authenticate") is None
            assert "407" in program.stderr
            assert "wrong" not in program.stderr
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("exempt", ["localhost", "*"])
async def test_no_proxy_is_honoured(tmp_path: Path, authority: Authority, exempt: str) -> None:
    """A host in ``NO_PROXY`` is connected to directly."""
    async with secure_origin(authority.context("localhost")) as port, tunnel() as proxy:
        env = clean_environment(HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}", NO_PROXY=exempt)
        with serving(target(port, authority.file), tmp_path, env=env) as program:
            assert (await ask(program.port, ASK)).body == b'{"secure":true}'
        assert proxy.asked == []


@BOTH_DOORS
async def test_the_listener_uses_tls(tmp_path: Path, authority: Authority, lane: bool) -> None:
    """With ``--tls-cert`` and ``--tls-key``, a client that verifies gets complete and streamed answers."""
    issued = authority.ca.issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    context = ssl.create_default_context(cafile=str(authority.file))
    context.set_alpn_protocols(["h2", "http/1.1"])
    arguments = ("--tls-cert", str(cert), "--tls-key", str(key))
    with serving("targets: {m: {local: {engine: echo}}}", tmp_path, lane=lane, arguments=arguments) as program:
        assert program.scheme == "https"
        async with aiohttp.ClientSession(program.url, connector=aiohttp.TCPConnector(ssl=context)) as client:
            async with client.post("/v1/chat/completions", json=CHAT) as response:
                assert (await response.json())["choices"][0]["message"]["content"] == "one two three"
            async with client.post("/v1/chat/completions", json=CHAT | {"stream": True}) as response:
                assert (await response.text()).endswith("data: [DONE]\n\n")
            async with client.get("/v1/models") as response:
                assert [model["id"] for model in (await response.json())["data"]] == ["m"]
            async with client.post("/v1/chat/completions", json={"model": "unknown"}) as response:
                assert response.status == 404
        # Who speaks plain HTTP on this port gets nothing that could be taken for an answer.
        reader, writer = await asyncio.open_connection("127.0.0.1", program.port)
        writer.write(ASK)
        async with asyncio.timeout(5):
            assert not (await reader.read()).startswith(b"HTTP/")
        writer.close()
        assert await asyncio.to_thread(program.stop) == 0
        assert "Traceback" not in program.stderr


@pytest.mark.parametrize("broken", ["cert", "key"])
def test_certificate_files_that_cannot_be_used_are_a_failure_at_run_time(
    tmp_path: Path, authority: Authority, broken: str
) -> None:
    """The exit code is 1 with one sentence and no traceback."""
    issued = authority.ca.issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    (tmp_path / f"{broken}.pem").write_text("this is not PEM")
    arguments = ("--tls-cert", str(cert), "--tls-key", str(key))
    config = "targets: {m: {local: {engine: echo}}}"
    refusal = pytest.raises(AssertionError, match=r"ended with 1:\n.*cannot serve: ")
    with refusal, serving(config, tmp_path, arguments=arguments):
        pass
