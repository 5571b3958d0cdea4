"""``onwards_model`` changes exactly the bytes of one JSON string."""

from __future__ import annotations

import gzip

import pytest
import zstandard
from support.gateway import running
from support.origin import origin
from support.raw import ask, connect, get, post
from support.targets import single, snapshot

FORM = b"Content-Type: multipart/form-data; boundary=b\r\n"

BODIES = {
    "key order, spaces and numbers stay": (
        b'{ "z":1.10,\t"model" : "m" ,"a":1e5, "seed":123456789012345678901,"tools":[{"b":1,"a":2}] }\n',
        b'{ "z":1.10,\t"model" : "up/stream \\"x\\"" ,"a":1e5, "seed":123456789012345678901,'
        b'"tools":[{"b":1,"a":2}] }\n',
    ),
    "escapes elsewhere stay": (
        rb'{"model":"m","content":"\u00e9\/ \ud83d\ude00"}',
        rb'{"model":"up/stream \"x\"","content":"\u00e9\/ \ud83d\ude00"}',
    ),
    "halves of surrogate pairs stay": (
        rb'{"a":"cut \ud83d","model":"m","\ude00":["\udc00"]}',
        rb'{"a":"cut \ud83d","model":"up/stream \"x\"","\ude00":["\udc00"]}',
    ),
    "the key's own spelling stays": (rb'{"mod\u0065l":"m"}', rb'{"mod\u0065l":"up/stream \"x\""}'),
    "only the top-level name": (
        b'{"a":{"model":"m"},"model":"m","b":"m"}',
        b'{"a":{"model":"m"},"model":"up/stream \\"x\\"","b":"m"}',
    ),
    "duplicate keys elsewhere stay": (b'{"a":1,"a":2,"model":"m"}', b'{"a":1,"a":2,"model":"up/stream \\"x\\""}'),
}


@pytest.mark.either_door
@pytest.mark.parametrize("case", BODIES)
async def test_only_the_name_changes(lane: bool, case: str) -> None:
    """No other byte changes, and Content-Length is that of the sent body."""
    sent, wanted = BODIES[case]
    async with origin() as upstream, running(single(upstream.url, onwards_model='up/stream "x"'), lane=lane) as gateway:
        response = await ask(gateway.port, post(sent))
    assert response.status == 200
    assert upstream.last.body == wanted
    assert upstream.last.values(b"content-length") == [b"%d" % len(wanted)]


async def test_requests_on_one_connection_are_each_renamed(lane: bool) -> None:
    """The cached head of an earlier request does not affect the body or the length of a later one."""
    bodies = [b'{"model":"m","n":%d,"pad":"%b"}' % (n, b"x" * n) for n in (1, 50, 2)]
    async with (
        origin() as upstream,
        running(single(upstream.url, onwards_model="longer"), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        for body in bodies:
            await client.send(post(body))
            assert (await client.response()).status == 200
    assert [request.body for request in upstream.requests] == [b.replace(b'"m"', b'"longer"') for b in bodies]


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_renamed_coded_body_is_sent_decoded(lane: bool, coding: str) -> None:
    """A compressed body that is renamed is sent as identity, without Content-Encoding and with the new length."""
    plain = b'{ "model":"m" ,"x":"' + b"y" * 3000 + b'"}'
    coded = gzip.compress(plain) if coding == "gzip" else zstandard.ZstdCompressor().compress(plain)
    fields = b"X-A: 1\r\nContent-Encoding: %b\r\nX-B: 2\r\n" % coding.encode()
    wanted = plain.replace(b'"m"', b'"up"')
    async with origin() as upstream, running(single(upstream.url, onwards_model="up"), lane=lane) as gateway:
        response = await ask(gateway.port, post(coded, fields=fields))
    assert response.status == 200
    assert upstream.last.body == wanted
    assert upstream.last.names[:4] == [b"Host", b"X-A", b"X-B", b"Content-Length"]
    assert upstream.last.values(b"content-length") == [b"%d" % len(wanted)]


async def test_a_form_field_is_renamed_in_place(lane: bool) -> None:
    """The value of the form's model part changes, without JSON quotes; the file does not."""
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="m"\r\n\r\nm\x00\xff\r\n'
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n--b--\r\n'
    )
    async with origin() as upstream, running(single(upstream.url, onwards_model="whisper-1"), lane=lane) as gateway:
        response = await ask(gateway.port, post(form % b"m", b"/v1/audio/transcriptions", FORM))
    assert response.status == 200
    assert upstream.last.body == form % b"whisper-1"


@pytest.mark.parametrize("body", [b"\x00\x01audio", b"[1]", b'{"no":"name"}'], ids=["audio", "list", "no name"])
async def test_routed_by_header_a_body_without_a_name_stays_as_it_is(lane: bool, body: bytes) -> None:
    """The body has no name to replace."""
    async with origin() as upstream, running(single(upstream.url, onwards_model="up"), lane=lane) as gateway:
        response = await ask(gateway.port, post(body, fields=b"Model-Override: m\r\n"))
    assert response.status == 200
    assert upstream.last.body == body


async def test_routed_by_header_a_body_with_another_name_is_renamed(lane: bool) -> None:
    """The provider gets its own name of the model, whatever name the client wrote."""
    async with origin() as upstream, running(single(upstream.url, onwards_model="up"), lane=lane) as gateway:
        await ask(gateway.port, post(b'{"model":"whatever","a":1}', fields=b"Model-Override: m\r\n"))
        await ask(gateway.port, get(b"/v1/x", b"Model-Override: m\r\n"))
    assert [request.body for request in upstream.requests] == [b'{"model":"up","a":1}', b""]


async def test_without_onwards_model_the_spelling_of_the_name_is_kept(lane: bool) -> None:
    """Routing decodes the escapes in the name; the forwarded body keeps them."""
    async with origin() as upstream, running(snapshot({"a/b": {"url": upstream.url}}), lane=lane) as gateway:
        await ask(gateway.port, post(rb'{"model":"a\/b"}'))
    assert upstream.last.body == rb'{"model":"a\/b"}'
