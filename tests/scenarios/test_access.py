"""Who may use what: keys, names of keys, and what a caller can find out about targets."""

from __future__ import annotations

import json

import pytest
from support.gateway import running
from support.origin import origin
from support.raw import ask, get, post
from support.targets import single, snapshot

NOWHERE = "http://127.0.0.1:1"


def bearer(token: bytes) -> bytes:
    return b"Authorization: Bearer %b\r\n" % token


@pytest.mark.parametrize(
    "field",
    [
        b"Authorization: Bearer sk-a\r\n",
        b"authorization: bearer sk-a\r\n",
        b"Authorization: Bearer  sk-a \r\n",
        b"X-Api-Key: sk-a\r\n",
        b"api-key: sk-a\r\n",
    ],
)
async def test_an_accepted_key_lets_in(lane: bool, field: bytes) -> None:
    """By the Bearer scheme (in any case, RFC 9110 section 11.1) or the header that Anthropic and Azure clients send."""
    async with origin() as upstream, running(single(upstream.url, keys=["sk-a", "sk-b"]), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=field))
    assert response.status == 200


@pytest.mark.parametrize(
    "field",
    [
        b"",
        b"Authorization: Bearer\r\n",
        b"Authorization: Bearer \r\n",
        b"Authorization: Basic sk-a\r\n",
        b"Authorization: sk-a\r\n",
        b"Authorization:\r\n",
        b"X-Api-Key: \r\n",
        b"Cookie: key=sk-a\r\n",
    ],
)
async def test_without_a_token_the_answer_is_401(lane: bool, field: bytes) -> None:
    """onwards.md 1.6, with the challenge that RFC 9110 section 15.5.2 asks for; nobody is asked."""
    async with origin() as upstream, running(single(upstream.url, keys=["sk-a"]), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=field))
    assert (response.status, response.error["code"]) == (401, "unauthenticated")
    assert response.value(b"www-authenticate") is not None
    assert not upstream.requests


@pytest.mark.parametrize("token", [b"sk-b", b"sk", b"sk-aa", b"SK-A", b"sk-a,sk-a", b"\xff", b"k" * 8000])
async def test_with_another_token_the_answer_is_403(lane: bool, token: bytes) -> None:
    """Neither a prefix nor an extension nor another case of a key is the key."""
    async with origin() as upstream, running(single(upstream.url, keys=["sk-a"]), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=bearer(token)))
    assert (response.status, response.error["code"]) == (403, "forbidden")
    assert not upstream.requests


async def test_two_credentials_of_one_name_are_refused(lane: bool) -> None:
    """S9: which of them counts would be a matter of taste."""
    async with origin() as upstream, running(single(upstream.url, keys=["sk-a"]), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=bearer(b"sk-a") + bearer(b"sk-b")))
    assert response.status == 400
    assert not upstream.requests


async def test_an_empty_list_of_keys_lets_nobody_in(lane: bool) -> None:
    """onwards.md 1.6: ``keys: []`` is not "open"."""
    async with origin() as upstream, running(single(upstream.url, keys=[]), lane=lane) as gateway:
        assert (await ask(gateway.port, post())).status == 401
        assert (await ask(gateway.port, post(fields=bearer(b"x")))).status == 403


async def test_global_keys_open_every_target(lane: bool) -> None:
    """onwards.md 1.6: beside a target's own keys; and they close targets that name none."""
    async with origin() as upstream:
        targets = {"m": {"url": upstream.url, "keys": ["own"]}, "n": {"url": upstream.url}}
        async with running(snapshot(targets, auth={"global_keys": ["all"]}), lane=lane) as gateway:
            verdicts = {
                (model, token): (await ask(gateway.port, post(b'{"model":"%b"}' % model, fields=bearer(token)))).status
                for model in (b"m", b"n")
                for token in (b"own", b"all")
            }
            assert (await ask(gateway.port, post(b'{"model":"n"}'))).status == 401
    assert verdicts == {(b"m", b"own"): 200, (b"m", b"all"): 200, (b"n", b"own"): 403, (b"n", b"all"): 200}


async def test_keys_can_be_given_by_the_id_of_their_definition(lane: bool) -> None:
    """B12: the id stands for the key; presented as a token it is nothing."""
    auth = {"key_definitions": {"alice": {"key": "sk-alice"}}}
    async with (
        origin() as upstream,
        running(snapshot({"m": {"url": upstream.url, "keys": ["alice"]}}, auth=auth), lane=lane) as gateway,
    ):
        assert (await ask(gateway.port, post(fields=bearer(b"sk-alice")))).status == 200
        assert (await ask(gateway.port, post(fields=bearer(b"alice")))).status == 403
    assert [line["key"] for line in gateway.lines()] == ["alice", None]
    assert b"sk-alice" not in gateway.log.getvalue()


async def test_with_a_closed_target_names_cannot_be_found_out(lane: bool) -> None:
    """B14: to a caller without an accepted key a missing model looks like a closed one."""
    async with running(snapshot({"m": {"url": NOWHERE, "keys": ["sk-a"]}}), lane=lane) as gateway:
        for fields in (b"", bearer(b"wrong")):
            closed = await ask(gateway.port, post(b'{"model":"m"}', fields=fields))
            missing = await ask(gateway.port, post(b'{"model":"nothing"}', fields=fields))
            assert (missing.head, missing.body) == (closed.head, closed.body)
        known = await ask(gateway.port, post(b'{"model":"nothing"}', fields=bearer(b"sk-a")))
    assert (known.status, known.error["code"]) == (404, "model_not_found")


async def test_the_list_of_models_shows_what_the_caller_may_use(lane: bool) -> None:
    """In the order of the file, OpenAI-shaped, and answered here."""
    targets = {"open/x": {"url": NOWHERE}, "b": {"url": NOWHERE, "keys": ["sk-b"]}, "a": {"url": NOWHERE, "keys": []}}
    async with running(snapshot(targets), lane=lane) as gateway:
        for path in (b"/v1/models", b"/models", b"/v1/models?limit=2"):
            anonymous = await ask(gateway.port, get(path))
            known = await ask(gateway.port, get(path, bearer(b"sk-b")))
            assert [entry["id"] for entry in json.loads(anonymous.body)["data"]] == ["open/x"]
            assert [entry["id"] for entry in json.loads(known.body)["data"]] == ["open/x", "b"]
    listing = json.loads(known.body)
    assert listing["object"] == "list"
    assert {key: type(value) for key, value in listing["data"][0].items()} == {
        "id": str, "object": str, "created": int, "owned_by": str
    }  # fmt: skip
    assert listing["data"][0]["object"] == "model"


@pytest.mark.parametrize("path", [b"/v1/models/org/m", b"/v1/models/org%2Fm", b"/models/org/m"])
async def test_one_model_is_shown_by_its_id(lane: bool, path: bytes) -> None:
    """Ids with slashes, escaped or not."""
    async with running(snapshot({"org/m": {"url": NOWHERE}}), lane=lane) as gateway:
        response = await ask(gateway.port, get(path))
    assert response.status == 200
    assert json.loads(response.body)["id"] == "org/m"


async def test_a_model_of_others_is_not_found(lane: bool) -> None:
    """The same answer as for a missing one."""
    async with running(snapshot({"m": {"url": NOWHERE, "keys": ["sk-a"]}}), lane=lane) as gateway:
        others = await ask(gateway.port, get(b"/v1/models/m"))
        missing = await ask(gateway.port, get(b"/v1/models/n"))
        own = await ask(gateway.port, get(b"/v1/models/m", bearer(b"sk-a")))
    assert (others.status, missing.status, own.status) == (404, 404, 200)
    assert others.error["code"] == "model_not_found"
    assert {**others.error, "message": ""} == {**missing.error, "message": ""}


async def test_head_of_the_list_has_no_body(lane: bool) -> None:
    """RFC 9110 section 9.3.2: the same head as for GET."""
    async with running(snapshot({"m": {"url": NOWHERE}}), lane=lane) as gateway:
        by_get = await ask(gateway.port, get(b"/v1/models"))
        by_head = await ask(gateway.port, get(b"/v1/models").replace(b"GET", b"HEAD"))
    assert by_head.head == by_get.head
    assert by_head.body == b""


async def test_with_the_header_the_list_is_the_providers(lane: bool) -> None:
    """``model-override`` addresses a provider, for any path."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, get(b"/v1/models", b"Model-Override: m\r\n"))
    assert response.body == b'{"ok":true}'
    assert upstream.last.target == b"/v1/models"
