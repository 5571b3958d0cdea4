"""``Model-Override`` selects the target, but does not bypass keys or the model that an operator has configured.

The targets: ``cheap`` needs a key or renames (or both), and its provider also has an ``expensive`` model.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping

import pytest
import zstandard
from support.gateway import running
from support.origin import origin
from support.raw import ask, get, post
from support.targets import Shape, snapshot

CLOSED: Shape = {"keys": ["sk-a"]}
PINNED: Shape = {"onwards_model": "pinned"}
BOTH: Shape = {**CLOSED, **PINNED}

HEADER = b"Authorization: Bearer sk-a\r\nModel-Override: cheap\r\n"
JSON = b"Content-Type: application/json\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=b\r\n"
PLAIN = b'{"model":"expensive"}'


def part(disposition: bytes, value: bytes = b"expensive") -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + value + b"\r\n"


UNREADABLE: Mapping[str, tuple[bytes, bytes]] = {
    "twice": (JSON, b'{"model":"expensive","model":"expensive"}'),
    "twice, the header's first": (JSON, b'{"model":"cheap","model":"expensive"}'),
    "twice, in another spelling": (JSON, rb'{"mod\u0065l":"cheap","model":"expensive"}'),
    "twice, in another case": (JSON, b'{"model":"cheap","Model":"expensive"}'),
    "byte order mark": (JSON, b"\xef\xbb\xbf" + PLAIN),
    "NaN": (JSON, b'{"x":NaN,"model":"expensive"}'),
    "UTF-16": (JSON, PLAIN.decode().encode("utf-16")),
    "UTF-16 without a mark": (JSON, PLAIN.decode().encode("utf-16-le")),
    "UTF-32": (JSON, PLAIN.decode().encode("utf-32")),
    "trailing comma": (JSON, b'{"model":"expensive",}'),
    "second document": (JSON, b'{"model":"cheap"}' + PLAIN),
    "comment": (JSON, b"/**/" + PLAIN),
    "single quotes": (JSON, b"{'model':'expensive'}"),
    "too deep": (JSON, b'{"x":' + b"[" * 2000 + b"]" * 2000 + b',"model":"expensive"}'),
    "invalid UTF-8": (JSON, b'{"x":"\xff","model":"expensive"}'),
    "a list": (JSON, b'{"model":["expensive"]}'),
    "null": (JSON, b'{"model":null}'),
    "empty": (JSON, b'{"model":""}'),
    "large, twice": (JSON, b'{"model":"cheap","x":"' + b"x" * 300_000 + b'","MODEL":"expensive"}'),
    "charset UTF-7": (b"Content-Type: application/json; charset=utf-7\r\n", b'{"+AG0-odel":"expensive"}'),
    "coded twice": (JSON + b"Content-Encoding: gzip, gzip\r\n", gzip.compress(gzip.compress(PLAIN))),
    "unknown coding": (JSON + b"Content-Encoding: compress\r\n", PLAIN),
    "bytes behind gzip": (JSON + b"Content-Encoding: gzip\r\n", gzip.compress(PLAIN) + b"x"),
    "gzip that is none": (JSON + b"Content-Encoding: gzip\r\n", PLAIN),
    "JSON called text, twice": (b"Content-Type: text/plain\r\n", b'{"model":"cheap","model":"expensive"}'),
    "JSON called sound, with a mark": (b"Content-Type: audio/wav\r\n", b"\xef\xbb\xbf" + PLAIN),
    "JSON called nothing, with a comment": (b"", b"# x\n" + PLAIN),
    "form of letters": (b"Content-Type: application/x-www-form-urlencoded\r\n", b"model=expensive"),
    "form of letters in JSON": (b"Content-Type: application/x-www-form-urlencoded\r\n", b'{"x":"&mod%65l=expensive&"}'),
    "form of letters called nothing": (b"", b"a=b&model=expensive"),
    "two parts": (FORM, part(b'name="model"', b"cheap") + part(b'name="model"') + b"--b--\r\n"),
    "two parts in two cases": (FORM, part(b'name="model"', b"cheap") + part(b"name=Model") + b"--b--\r\n"),
    "encoded name": (FORM, part(b"name*=UTF-8''model") + b"--b--\r\n"),
    "escaped name": (FORM, part(b'name="mod\\el"') + b"--b--\r\n"),
    "broken form": (FORM, part(b'name="model"')),
    "form with bare line feeds": (FORM, part(b'name="model"').replace(b"\r\n", b"\n") + b"--b--\n"),
    "form without a boundary": (b"Content-Type: multipart/form-data\r\n", part(b'name="model"') + b"--b--\r\n"),
    "two types": (b"Content-Type: application/json, multipart/form-data; boundary=b\r\n", PLAIN),
    "text that is no JSON": (JSON, b"model: expensive"),
}  # fmt: skip


@pytest.mark.either_door
@pytest.mark.parametrize("case", UNREADABLE)
async def test_an_ambiguous_body_is_refused(lane: bool, case: str) -> None:
    """The response is 400 or 415 for each kind of target, and no provider gets the request: a provider might read
    another model in it."""
    fields, body = UNREADABLE[case]
    for options in (CLOSED, PINNED, BOTH):
        async with (
            origin() as upstream,
            running(snapshot({"cheap": {"url": upstream.url, **options}}), lane=lane) as gateway,
        ):
            response = await ask(gateway.port, post(body, fields=HEADER + fields))
        assert response.status in (400, 415), options
        assert not upstream.requests


ELSEWHERE: Mapping[str, tuple[bytes, bytes]] = {
    "JSON": (JSON, PLAIN),
    "in another case": (JSON, b'{"MODEL":"expensive"}'),
    "JSON called text": (b"Content-Type: text/plain\r\n", PLAIN),
    "JSON called sound": (b"Content-Type: audio/wav\r\n", PLAIN),
    "JSON called a form, as curl does": (b"Content-Type: application/x-www-form-urlencoded\r\n", PLAIN),
    "JSON called nothing": (b"", PLAIN),
    "zstd": (JSON + b"Content-Encoding: zstd\r\n", zstandard.compress(PLAIN)),
    "large": (JSON, b'{"x":["' + b"x" * 300_000 + b'"],"model":"expensive"}'),
    "form": (FORM, part(b'name="file"; filename="f"', b"x") + part(b'name="model"') + b"--b--\r\n"),
    "form in another case": (FORM, part(b"name=MODEL") + b"--b--\r\n"),
}


@pytest.mark.either_door
@pytest.mark.parametrize("options", [PINNED, BOTH], ids=["pinned", "both"])
@pytest.mark.parametrize("case", ELSEWHERE)
async def test_the_provider_reads_the_model_that_the_operator_chose(lane: bool, options: Shape, case: str) -> None:
    """Any model name in the body is replaced, in its place."""
    fields, body = ELSEWHERE[case]
    async with (
        origin() as upstream,
        running(snapshot({"cheap": {"url": upstream.url, **options}}), lane=lane) as gateway,
    ):
        response = await ask(gateway.port, post(body, fields=HEADER + fields))
    assert response.status == 200
    plain = zstandard.decompress(body) if case == "zstd" else body
    assert upstream.last.body == plain.replace(b"expensive", b"pinned")


@pytest.mark.either_door
@pytest.mark.parametrize("case", ELSEWHERE)
async def test_another_model_in_the_body_is_refused(lane: bool, case: str) -> None:
    """The target needs a key and does not rename. The error names the other model."""
    fields, body = ELSEWHERE[case]
    async with (
        origin() as upstream,
        running(snapshot({"cheap": {"url": upstream.url, **CLOSED}}), lane=lane) as gateway,
    ):
        response = await ask(gateway.port, post(body, fields=HEADER + fields))
    assert (response.status, response.error["param"]) == (400, "model")
    assert "Model-Override" in str(response.error["message"])
    assert not upstream.requests


HARMLESS: Mapping[str, tuple[bytes, bytes]] = {
    "the same": (JSON, b'{"model":"cheap"}'),
    "none": (JSON, rb'{"x":{"model":"expensive"},"y":"\ud83d"}'),
    "none, coded": (JSON + b"Content-Encoding: gzip\r\n", gzip.compress(b'{"x":1}')),
    "a list": (JSON, b'[{"model":"expensive"}]'),
    "a large list": (JSON, b'["' + b"x" * 300_000 + b'"]'),
    "sound": (b"Content-Type: audio/wav\r\n", b"RIFF\x24\x00\x00\x00WAVE" + bytes(range(256))),
    "silence": (b"Content-Type: audio/pcm\r\n", bytes(5000)),
    "data of no type": (b"", b"\x00\x01\x02{"),
    "an offer": (b"Content-Type: application/sdp\r\n", b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"),
    "a form without one": (FORM, part(b'name="file"; filename="model"', b"x") + b"--b--\r\n"),
}


@pytest.mark.either_door
@pytest.mark.parametrize("case", HARMLESS)
async def test_a_body_without_another_model_passes_unchanged(lane: bool, case: str) -> None:
    """The header exists for such bodies. Every byte is equal, coded or not."""
    fields, body = HARMLESS[case]
    async with (
        origin() as upstream,
        running(snapshot({"cheap": {"url": upstream.url, **CLOSED}}), lane=lane) as gateway,
    ):
        response = await ask(gateway.port, post(body, b"/v1/x", HEADER + fields))
    assert response.status == 200
    assert upstream.last.body == body


async def test_an_open_target_that_renames_nothing_passes_everything(lane: bool) -> None:
    """At such a target there is no restriction to bypass, so the header only selects the target."""
    async with origin() as upstream, running(snapshot({"cheap": {"url": upstream.url}}), lane=lane) as gateway:
        for fields, body in [*UNREADABLE.values(), *ELSEWHERE.values(), *HARMLESS.values()]:
            response = await ask(gateway.port, post(body, fields=HEADER + fields))
            assert response.status == 200
            assert upstream.last.body == body


@pytest.mark.either_door
@pytest.mark.parametrize(
    "query", [b"model=expensive", b"a=b&mod%65l=expensive", b"Model=expensive", b"model=cheap&model=x"]
)
async def test_the_query_cannot_name_another_model(lane: bool, query: bytes) -> None:
    """Some APIs read the model from the query."""
    async with (
        origin() as upstream,
        running(snapshot({"cheap": {"url": upstream.url, **CLOSED}}), lane=lane) as gateway,
    ):
        response = await ask(gateway.port, get(b"/v1/listen?" + query, HEADER))
        same = await ask(gateway.port, get(b"/v1/listen?model=cheap&models=x", HEADER))
    assert (response.status, response.error["param"]) == (400, "model")
    assert same.status == 200
    assert [request.target for request in upstream.requests] == [b"/v1/listen?model=cheap&models=x"]


async def test_a_redirect_applies_to_the_names_in_body_and_query(lane: bool) -> None:
    """The provider reads the model of the target that the rule redirects to."""
    rules = [{"match_labels": {"plan": "free"}, "action": {"type": "redirect", "target": "small"}}]
    auth = {"key_definitions": {"u": {"key": "sk-a", "labels": {"plan": "free"}}}}
    async with origin() as upstream:
        targets = {"cheap": {"url": upstream.url, "routing_rules": rules}, "small": {"url": upstream.url}}
        async with running(snapshot(targets, auth=auth), lane=lane) as gateway:
            good = await ask(gateway.port, post(PLAIN, b"/v1/chat/completions?model=cheap", HEADER + JSON))
            bad = await ask(gateway.port, post(UNREADABLE["twice"][1], fields=HEADER + JSON))
    assert (good.status, bad.status) == (200, 400)
    assert (upstream.last.body, upstream.last.target) == (b'{"model":"small"}', b"/v1/chat/completions?model=small")
    assert len(upstream.requests) == 1
