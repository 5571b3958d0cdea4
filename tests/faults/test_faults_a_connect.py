"""Fault catalogue A: no connection to the provider comes about, or it is not the provider's."""

from __future__ import annotations

import datetime
import os
import resource
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
import trustme
from fault_providers import CUT, INVALID, TOO_LATE, UNREACHABLE, Fault, Place, Then
from fault_stage import SERVED, Case, Stage, Table, Told, perform
from support.origin import Peer, Script, answer, refused_port, serve
from support.raw import End, ask, connect, post

SOON = {"timeouts": {"connect": "100ms"}}
PAST = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
ALERT = b"\x15\x03\x03\x00\x02\x02\x28"  # fatal, handshake_failure (RFC 8446 section 6)


async def refusing(stage: Stage) -> Mapping[str, object]:
    return {"url": f"http://127.0.0.1:{refused_port()}"}


async def full(stage: Stage) -> Mapping[str, object]:
    """A listener whose backlog is full, so that the kernel drops what else comes."""
    listener = stage.keep(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    for _ in range(4):
        filler = stage.keep(socket.socket())
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    return {"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}


async def nameless(stage: Stage) -> Mapping[str, object]:
    """A name that cannot be (RFC 1035 section 2.3.4), which is found out without asking anybody."""
    return {"url": f"http://{'a' * 64}.invalid"}


async def by_name(stage: Stage) -> Mapping[str, object]:
    """Of the addresses of ``localhost`` only one has a listener."""
    upstream = await stage.origin()
    return {"url": f"http://localhost:{upstream.port}"}


def certified(kind: str) -> Place:
    """An https provider whose certificate has something wrong; whoever asks there has asked a stranger."""

    async def place(stage: Stage) -> Mapping[str, object]:
        authority, stranger = trustme.CA(), trustme.CA()
        if kind == "expired":
            certificate = authority.issue_cert("127.0.0.1", not_before=PAST, not_after=PAST)
        elif kind == "for another name":
            certificate = authority.issue_cert("example.org")
        elif kind == "of another authority":
            certificate = stranger.issue_cert("127.0.0.1")
        else:
            certificate = authority.issue_cert("127.0.0.1")
        return await secured(stage, authority, certificate, stranger_asked)

    return place


async def secured(
    stage: Stage, authority: trustme.CA, certificate: trustme.LeafCert, *scripts: Script
) -> Mapping[str, object]:
    """An https provider with this certificate; ``authority`` is the one that is trusted."""
    file = stage.folder() / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(server)
    upstream = await stage.origin(*scripts, tls=server)
    return {"url": upstream.url.replace("http:", "https:"), "tls": {"ca_file": str(file)}}


async def stranger_asked(peer: Peer) -> None:
    request = await peer.request()
    raise AssertionError(f"a stranger was asked: {request.raw!r}")


def https(script: Script) -> Place:
    """A provider that is configured with https, behind a plain socket."""

    async def place(stage: Stage) -> Mapping[str, object]:
        upstream = await stage.origin(script)
        return {"url": upstream.url.replace("http:", "https:")}

    return place


def says(reply: bytes) -> Script:
    """Say this to whoever connects, whatever it is that they want."""

    async def script(peer: Peer) -> None:
        await peer.send(reply)
        await peer.gone()

    return script


async def mute(peer: Peer) -> None:
    await peer.gone()


async def tls_for_http(stage: Stage) -> Mapping[str, object]:
    """A provider that is configured with http, and speaks TLS."""
    place = await secured(stage, authority := trustme.CA(), authority.issue_cert("127.0.0.1"), stranger_asked)
    return {"url": str(place["url"]).replace("https:", "http:")}


def descriptor_of(peer: Peer) -> int:
    return int(peer._writer.get_extra_info("socket").fileno())


async def truncated_tls(stage: Stage) -> Mapping[str, object]:
    """A body that lasts until the close, and a close that anybody on the way can make."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await stage.go.wait()
        with socket.socket(fileno=os.dup(descriptor_of(peer))) as below:
            below.shutdown(socket.SHUT_WR)  # FIN without close_notify
        await peer.gone()

    authority = trustme.CA()
    return await secured(stage, authority, authority.issue_cert("127.0.0.1"), script, serve())


FAULTS = [
    Fault("A1", "refused", refusing, UNREACHABLE, Then.MOVES, heals=False),
    Fault("A2", "SYN dropped", full, TOO_LATE, Then.MOVES, heals=False, options=SOON),
    Fault("A3", "no such name", nameless, UNREACHABLE, Then.MOVES, heals=False),
    *(
        Fault("A7", f"certificate {kind}", certified(kind), UNREACHABLE, Then.MOVES, heals=False)
        for kind in ("expired", "for another name", "of another authority")
    ),
    Fault("A8", "TLS alert", https(says(ALERT)), UNREACHABLE, Then.MOVES, heals=False),
    Fault("A9", "TLS handshake stalls", https(mute), TOO_LATE, Then.MOVES, heals=False, options=SOON),
    Fault("A10", "HTTP on a TLS port", https(says(answer())), UNREACHABLE, Then.MOVES, heals=False),
    Fault("A10", "TLS on an HTTP port", tls_for_http, INVALID, Then.SENT, heals=False),
    Fault("A11", "TLS cut without close_notify", truncated_tls, CUT, Then.COMMITTED, body=b"abc"),
]
CASES = Table(case for fault in FAULTS for case in fault.cases())


@CASES.case("A5", "one of a name's addresses is dead")
async def happy_eyeballs(stage: Stage) -> list[Told]:
    """RFC 8305: the other address serves."""
    await stage.start({"m": dict(await by_name(stage))})
    assert (await stage.ask()).status == 200
    return [SERVED]


@CASES.case("A12", "the provider is the proxy itself")
async def loop(stage: Stage) -> list[Told]:
    """Seen at the second turn; whoever asks for something else is served."""
    await stage.start({})
    await stage.reload({"m": {"url": f"http://127.0.0.1:{stage.gateway.port}"}})
    response = await stage.ask()
    assert (response.status, response.error["code"]) == (508, "loop_detected")
    return [Told(508, "done"), Told(508, "overloaded", "loop_detected", 0)]


@CASES.case("A12", "the provider leads back by a detour, bounded by a concurrency limit")
async def loop_within_limit(stage: Stage) -> list[Told]:
    """The limit's refusal travels back through all turns."""
    itself = await stage.origin(again(stage))
    limit = {"max_concurrent_requests": 3}
    await stage.start({"m": {"providers": [{"url": itself.url}], "concurrency_limit": limit}})
    response = await stage.ask()
    assert (response.status, response.error["code"]) == (429, "concurrency_limit_exceeded")
    return [Told(429, "done")] * 3 + [Told(429, "refused", "concurrency_limit_exceeded", 0)]


@CASES.case("A12", "the provider leads back by a detour, bounded by max_connections")
async def loop_within_connections(stage: Stage) -> list[Told]:
    """One connection too many ends it."""
    await stage.single(again(stage), server={"max_connections": 4})
    response = await stage.ask()
    assert (response.status, response.error["code"]) == (503, "overloaded")
    return [Told(503, "done")] * 4


def again(stage: Stage) -> Script:
    """Ask the gateway that asks."""

    async def script(peer: Peer) -> None:
        response = await ask(stage.port, (await peer.request()).raw)
        await peer.send(response.head + response.body)

    return script


@CASES.case("A13", "no file descriptor left")
async def no_descriptors(stage: Stage) -> list[Told]:
    """EMFILE is a lack of ours, not of the provider's; with descriptors back, it is asked again."""
    await stage.single()
    async with connect(stage.port) as client:
        await client.send(post(b'{"model":"nobody"}'))
        assert (await client.response()).status == 404
        with descriptors_gone():
            await client.send(post())
            assert (await client.response()).status == 503
        await client.send(post())
        response = await client.response()
    assert (response.status, response.end) == (200, End.WHOLE)
    return [Told(404, "refused", "model_not_found", 0), Told(503, "overloaded", "overloaded", 1), SERVED]


@contextmanager
def descriptors_gone() -> Iterator[None]:
    """This process can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("case", CASES.parameters())
async def test_connecting_goes_wrong(lane: bool, case: Case) -> None:
    """The client is told so, or another provider asked: not one byte of the request is lost or goes to a stranger."""
    await perform(case, lane=lane)
