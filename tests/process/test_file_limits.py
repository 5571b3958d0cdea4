"""The limit of open files is raised at the start and shared out, and its exhaustion is never a provider's failure."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import ssl
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import trustme
from support.gateway import running
from support.origin import origin, serve, streaming
from support.program import serving
from support.raw import Client, Response, ask, connect, get, post

from onwards_py.config.parse import parse

BOTH_DOORS = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
STREAMS = 1100
CHAT = post(b'{"model":"m","stream":true}')


def pool(*urls: str) -> str:
    """Providers that are ejected after a single failure, with fallback."""
    providers = ", ".join(f"{{url: '{url}/v1', name: p{number}}}" for number, url in enumerate(urls))
    return f"""
targets:
  m:
    fallback: {{enabled: true}}
    ejection: {{consecutive_failures: 1}}
    providers: [{providers}]
"""


async def open_streams(stack: AsyncExitStack, port: int, count: int) -> list[Response]:
    """Response heads of ``count`` requests on connections of their own, all open at one time."""

    async def one() -> Response:
        client: Client = await stack.enter_async_context(connect(port))
        await client.send(CHAT)
        return await client.head()

    return await asyncio.gather(*(one() for _ in range(count)))


async def health(admin_port: int) -> set[str]:
    status = json.loads((await ask(admin_port, get(b"/status", host=b"127.0.0.1"))).body)
    return {provider["health"] for provider in status["targets"][0]["providers"]}


@BOTH_DOORS
async def test_a_low_soft_limit_is_raised_and_all_streams_are_answered(tmp_path: Path, lane: bool) -> None:
    """systemd and login shells set ``ulimit -Sn 1024``; 1,100 streams need 2,200 descriptors."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the clients and providers of this test need as many
    count = min(STREAMS, (hard - 300) // 2)
    if count < 400:
        pytest.skip(f"the hard limit of this machine ({hard}) leaves no room between itself and a soft limit")
    release = asyncio.Event()
    async with origin(streaming(release)) as one, origin(streaming(release)) as two, AsyncExitStack() as stack:
        with serving(pool(one.url, two.url), tmp_path, lane=lane, files=(min(1024, count), hard)) as program:
            heads = await open_streams(stack, program.port, count)
            assert {head.status for head in heads} == {200}
            assert await health(program.admin_port) == {"healthy"}
            release.set()


@BOTH_DOORS
@pytest.mark.parametrize(("limit", "least"), [(128, 20), (64, 8)])
async def test_connections_above_the_limit_are_refused(tmp_path: Path, lane: bool, limit: int, least: int) -> None:
    """With a low hard limit some are served, all others are refused at once, and no failure of a provider is
    counted."""
    release = asyncio.Event()
    async with origin(streaming(release)) as one, origin(streaming(release)) as two, AsyncExitStack() as stack:
        with serving(pool(one.url, two.url), tmp_path, lane=lane, files=(limit, limit)) as program:
            heads = await open_streams(stack, program.port, 300)
            served = [head for head in heads if head.status == 200]
            refused = [head for head in heads if head.status == 503]
            assert len(served) + len(refused) == 300
            assert len(served) >= least
            assert all(head.value(b"Retry-After") for head in refused)
            assert await health(program.admin_port) == {"healthy"}
            metrics = (await ask(program.admin_port, get(b"/metrics", host=b"localhost"))).body
            assert b"onwards_connections_refused_total %d.0" % len(refused) in metrics
            assert program.stderr.count("refused with 503") == 1
            release.set()


@BOTH_DOORS
async def test_a_missing_descriptor_is_not_a_failure_of_the_provider(lane: bool) -> None:
    """EMFILE at a connection attempt causes a 503 of the proxy, no ejection and no fallback. The next request is
    served."""
    async with origin(serve()) as one, origin(serve()) as two:
        snapshot = parse(pool(one.url, two.url), "targets.yaml", {}).snapshot
        async with running(snapshot, lane=lane) as gateway, connect(gateway.port) as client:
            await client.send(get(b"/v1/models"))  # accepted before the limit falls
            assert (await client.response()).status == 200
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            try:
                await client.send(CHAT)
                refused = await client.response()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert (refused.status, refused.error["code"]) == (503, "overloaded")
            assert refused.value(b"Retry-After") == b"1"
            assert await health(gateway.admin_port) == {"healthy"}
            metrics = (await ask(gateway.admin_port, get(b"/metrics"))).body
            assert b'onwards_requests_total{outcome="overloaded",provider="",' in metrics
            await client.send(CHAT)
            assert (await client.response()).status == 200
    assert [line["outcome"] for line in gateway.lines() if line["target"]] == ["overloaded", "done"]
    assert [line["attempts"] for line in gateway.lines() if line["target"]] == [1, 1]
    assert next(line["provider"] for line in gateway.lines() if line["target"]) is None


async def test_admin_connections_do_not_use_the_clients_descriptors(tmp_path: Path) -> None:
    """Refused connections have some time to read the refusal, but only a few at once."""
    async with AsyncExitStack() as stack:
        with serving("targets: {m: {local: {engine: echo}}}", tmp_path, files=(64, 64)) as program:
            for _ in range(150):
                await stack.enter_async_context(connect(program.admin_port))
            for _ in range(5):
                assert (await ask(program.port, get(b"/v1/models"))).status == 200


def shaken_hands(context: ssl.SSLContext, port: int, count: int) -> list[ssl.SSLSocket]:
    """TLS connections whose data are not read."""
    made = []
    for _ in range(count):
        with suppress(OSError):
            plain = socket.create_connection(("127.0.0.1", port), timeout=5)
            made.append(context.wrap_socket(plain, server_hostname="localhost"))
    return made


@BOTH_DOORS
async def test_refused_tls_clients_release_their_descriptors(tmp_path: Path, lane: bool) -> None:
    """The proxy does not wait for the close_notify of a client that neither reads nor closes, so the reserve stays
    free."""
    ca = trustme.CA()
    certificate = ca.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())
    tls = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    with serving(pool("http://127.0.0.1:9"), tmp_path, lane=lane, files=(128, 128), arguments=tls) as program:
        held = await asyncio.to_thread(shaken_hands, context, program.port, 200)
        assert (await ask(program.admin_port, get(b"/healthz", host=b"localhost"))).status == 200
        assert len(held) == 200
        for client in held:
            client.close()


async def test_an_idle_connection_makes_room_for_another_provider(tmp_path: Path) -> None:
    """With 64 descriptors, 60 providers get a request one after the other. Idle connections to earlier ones are
    closed for the later ones."""
    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(origin(serve())) for _ in range(60)]
        targets = "".join(f"  m{number}: {{url: '{one.url}/v1'}}\n" for number, one in enumerate(upstreams))
        with serving("targets:\n" + targets, tmp_path, files=(64, 64)) as program:
            client = await stack.enter_async_context(connect(program.port))
            for number in range(60):
                await client.send(post(b'{"model":"m%d"}' % number))
                assert (await client.response()).status == 200
