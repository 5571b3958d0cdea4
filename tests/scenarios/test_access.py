"""Access control: client keys, key ids, and what a caller can learn about targets."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from support.gateway import running
from support.origin import origin
from support.raw import ask, get, post
from support.targets import single, snapshot

NOWHERE = "http://127.0.0.1:1"


def bearer(token: bytes) -> bytes:
    return b"Authorization: Bearer %b\r\n" % token


@pytest.mark.either_door
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
async def test_an_accepted_key_opens_a_closed_target(lane: bool, field: bytes) -> None:
    """The key may come as a Bearer token (in any case, RFC 9110 section 11.1) or in the header of Anthropic or Azure
    clients."""
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
    """The response has the challenge that RFC 9110 section 15.5.2 requires. No provider receives the request."""
    async with origin() as upstream, running(single(upstream.url, keys=["sk-a"]), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=field))
    assert (response.status, response.error["code"]) == (401, "unauthenticated")
    assert response.value(b"www-authenticate") is not None
    assert not upstream.requests


@pytest.mark.parametrize("token", [b"sk-b", b"sk", b"sk-aa", b"SK-A", b"sk-a,sk-a", b"\xff", b"k" * 8000])
async def test_with_another_token_the_answer_is_403(lane: bool, token: bytes) -> None:
    """A prefix, an extension or another case of an accepted key is not accepted."""
    async with origin() as upstream, running(single(upstream.url, keys=["sk-a"]), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=bearer(token)))
    assert (response.status, response.error["code"]) == (403, "forbidden")
    assert not upstream.requests


async def test_two_credentials_of_one_name_are_refused(lane: bool) -> None:
    """The proxy does not choose between two Authorization fields."""
    async with origin() as upstream, running(single(upstream.url, keys=["sk-a"]), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=bearer(b"sk-a") + bearer(b"sk-b")))
    assert response.status == 400
    assert not upstream.requests


async def test_an_empty_list_of_keys_accepts_no_key(lane: bool) -> None:
    """``keys: []`` closes the target; it does not open it."""
    async with origin() as upstream, running(single(upstream.url, keys=[]), lane=lane) as gateway:
        assert (await ask(gateway.port, post())).status == 401
        assert (await ask(gateway.port, post(fields=bearer(b"x")))).status == 403


async def test_global_keys_open_every_target(lane: bool) -> None:
    """Global keys are accepted beside a target's own keys. They also close targets that list no keys."""
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
    """The list may contain the id of a key definition. The id itself is not accepted as a token."""
    auth = {"key_definitions": {"alice": {"key": "sk-alice"}}}
    async with (
        origin() as upstream,
        running(snapshot({"m": {"url": upstream.url, "keys": ["alice"]}}, auth=auth), lane=lane) as gateway,
    ):
        assert (await ask(gateway.port, post(fields=bearer(b"sk-alice")))).status == 200
        assert (await ask(gateway.port, post(fields=bearer(b"alice")))).status == 403
    assert [line["key"] for line in gateway.lines()] == ["alice", None]
    assert b"sk-alice" not in gateway.log.getvalue()


async def test_a_caller_without_a_key_cannot_learn_which_targets_exist(lane: bool) -> None:
    """A caller without an accepted key gets the same response for a missing model as for a closed one."""
    async with running(snapshot({"m": {"url": NOWHERE, "keys": ["sk-a"]}}), lane=lane) as gateway:
        for fields in (b"", bearer(b"wrong")):
            closed = await ask(gateway.port, post(b'{"model":"m"}', fields=fields))
            missing = await ask(gateway.port, post(b'{"model":"nothing"}', fields=fields))
            assert (missing.head, missing.body) == (closed.head, closed.body)
        known = await ask(gateway.port, post(b'{"model":"nothing"}', fields=bearer(b"sk-a")))
    assert (known.status, known.error["code"]) == (404, "model_not_found")


async def test_the_list_of_models_shows_what_the_caller_may_use(lane: bool) -> None:
    """The proxy itself returns the list, in OpenAI's form and in the order of the file."""
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
    """The id may contain slashes, escaped or not."""
    async with running(snapshot({"org/m": {"url": NOWHERE}}), lane=lane) as gateway:
        response = await ask(gateway.port, get(path))
    assert response.status == 200
    assert json.loads(response.body)["id"] == "org/m"


async def test_a_model_of_others_is_not_found(lane: bool) -> None:
    """The response is the same as for a model that does not exist."""
    async with running(snapshot({"m": {"url": NOWHERE, "keys": ["sk-a"]}}), lane=lane) as gateway:
        others = await ask(gateway.port, get(b"/v1/models/m"))
        missing = await ask(gateway.port, get(b"/v1/models/n"))
        own = await ask(gateway.port, get(b"/v1/models/m", bearer(b"sk-a")))
    assert (others.status, missing.status, own.status) == (404, 404, 200)
    assert others.error["code"] == "model_not_found"
    assert {**others.error, "message": ""} == {**missing.error, "message": ""}


async def test_head_of_the_list_has_no_body(lane: bool) -> None:
    """HEAD gets the same head as GET (RFC 9110 section 9.3.2)."""
    async with running(snapshot({"m": {"url": NOWHERE}}), lane=lane) as gateway:
        by_get = await ask(gateway.port, get(b"/v1/models"))
        by_head = await ask(gateway.port, get(b"/v1/models").replace(b"GET", b"HEAD"))
    assert by_head.head == by_get.head
    assert by_head.body == b""


async def test_with_the_header_the_list_is_the_providers(lane: bool) -> None:
    """``model-override`` sends the request for the list to a provider, as for any other path."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, get(b"/v1/models", b"Model-Override: m\r\n"))
    assert response.body == b'{"ok":true}'
    assert upstream.last.target == b"/v1/models"


CREDENTIALS = [
    # What says nothing is no credential: 401.
    (b"", 401),
    (b"Authorization:\r\n", 401),
    (b"Authorization:   \t \r\n", 401),
    (b"Authorization: Bearer\r\n", 401),
    (b"Authorization: Bearer    \r\n", 401),
    (b"Authorization: bearer\r\n", 401),
    (b"Authorization: Bearer\tsk-a\r\n", 401),
    (b"Authorization: Bearersk-a\r\n", 401),
    (b"Authorization: Basic c2stYQ==\r\n", 401),
    (b"Authorization: Token sk-a\r\n", 401),
    (b"Authorization: sk-a\r\n", 401),
    (b"Authorization: sk-a Bearer\r\n", 401),
    (b"Proxy-Authorization: Bearer sk-a\r\n", 401),
    (b"X-Api-Key:\r\n", 401),
    (b"X-Api-Key:   \r\n", 401),
    # What says something else is refused: 403.
    (b"Authorization: Bearer sk-b\r\n", 403),
    (b"Authorization: Bearer sk-a, Bearer sk-a\r\n", 403),
    (b"Authorization: Bearer sk-a,sk-b\r\n", 403),
    (b"Authorization: Bearer sk-a sk-b\r\n", 403),
    (b"Authorization: Bearer Bearer sk-a\r\n", 403),
    (b'Authorization: Bearer "sk-a"\r\n', 403),
    (b"Authorization: Bearer \xc3\xa9\xff\r\n", 403),
    (b"Authorization: Bearer " + b"k" * 8192 + b"\r\n", 403),
    (b"Authorization: Bearer sk-a" + b"\xc2\xa0" + b"\r\n", 403),
    (b"X-Api-Key: Bearer sk-a\r\n", 403),
    (b"X-Api-Key: sk-b\r\n", 403),
    (b"Authorization: Bearer sk-b\r\nX-Api-Key: sk-a\r\n", 403),
    (b"Authorization: Bearer the-id\r\n", 403),
    # What could be read in two ways is no request at all: 400.
    (b"Authorization: Bearer sk-a\r\nAuthorization: Bearer sk-b\r\n", 400),
    (b"Authorization: Bearer sk-a\r\nauthorization: Bearer sk-a\r\n", 400),
    (b"Authorization: \r\nAuthorization: Bearer sk-a\r\n", 400),
    (b"X-Api-Key: sk-a\r\nx-api-key: sk-b\r\n", 400),
    (b"Authorization: Bearer sk-\x00a\r\n", 400),
    # The key, in all ways in which it may be shown.
    (b"Authorization: Bearer sk-a\r\n", 200),
    (b"aUTHORIZATION: bEARER sk-a\r\n", 200),
    (b"Authorization:Bearer   sk-a  \r\n", 200),
    (b"x-API-key:sk-a\r\n", 200),
    (b"Api-Key: sk-a\r\n", 200),
    (b"Authorization: Basic c2stYQ==\r\nX-Api-Key: sk-a\r\n", 200),
    (b"Authorization: Bearer \r\nX-Api-Key: sk-a\r\n", 200),
    (b"Authorization: Bearer " + b"K" * 8192 + b"\r\n", 200),
]


@pytest.mark.parametrize(("field", "status"), CREDENTIALS)
async def test_no_odd_credential_opens_a_closed_target(lane: bool, field: bytes, status: int) -> None:
    """The response is 401, 403 or 400. The provider receives no request, and the proxy has no internal error."""
    definitions = {"the-id": {"key": "sk-a"}, "long": {"key": "K" * 8192}}
    targets = {"m": {"url": NOWHERE, "keys": ["the-id", "long"]}}
    async with origin() as upstream:
        targets["m"]["url"] = upstream.url
        async with running(snapshot(targets, auth={"key_definitions": definitions}), lane=lane) as gateway:
            response = await ask(gateway.port, post(fields=field))
            assert response.status == status
            assert len(upstream.requests) == (status == 200)
            assert (response.value(b"www-authenticate") is not None) is (status == 401)


@pytest.mark.either_door
@pytest.mark.parametrize("query", [b"key=sk-a", b"api_key=sk-a", b"access_token=sk-a", b"model=m&key=sk-a"])
async def test_a_key_in_the_query_string_is_not_accepted(lane: bool, query: bytes) -> None:
    """Query strings appear in logs, so a key in one is not a credential."""
    async with running(single(NOWHERE, keys=["sk-a"]), lane=lane) as gateway:
        response = await ask(gateway.port, post(target=b"/v1/chat/completions?" + query))
    assert response.status == 401


async def test_a_key_may_be_known_by_its_digest_only(lane: bool) -> None:
    """The configuration may contain only the digest of a key. The digest itself is not accepted as a token."""
    digest = sha256(b"sk-ci").hexdigest()
    auth = {"key_definitions": {"ci": {"key_sha256": digest}}}
    async with (
        origin() as upstream,
        running(snapshot({"m": {"url": upstream.url, "keys": ["ci"]}}, auth=auth), lane=lane) as gateway,
    ):
        assert (await ask(gateway.port, post(fields=bearer(b"sk-ci")))).status == 200
        assert (await ask(gateway.port, post(fields=bearer(digest.encode())))).status == 403
    assert [line["key"] for line in gateway.lines()] == ["ci", None]


async def test_a_key_may_use_its_allowed_targets_and_no_others(lane: bool) -> None:
    """The key is accepted at its allowed targets as if they listed it. Other targets refuse it, even open ones."""
    auth = {
        "key_definitions": {
            "trial": {"key": "sk-t", "allowed_targets": ["mine", "ours"]},
            "other": {"key": "sk-o"},
        },
    }
    async with origin() as upstream:
        url = {"url": upstream.url}
        targets = {"mine": url, "ours": {**url, "keys": ["other"]}, "theirs": {**url, "keys": ["other"]}, "open": url}
        async with running(snapshot(targets, auth=auth), lane=lane) as gateway:
            statuses = {}
            for token in (b"sk-t", b"sk-o", None):
                fields = b"" if token is None else bearer(token)
                for model in targets:
                    body = json.dumps({"model": model}).encode()
                    statuses[token, model] = (await ask(gateway.port, post(body, fields=fields))).status
                listed = json.loads((await ask(gateway.port, get(b"/v1/models", fields))).body)["data"]
                assert [entry["id"] for entry in listed] == [m for m in targets if statuses[token, m] == 200]
    assert [statuses[b"sk-t", model] for model in targets] == [200, 200, 403, 403]
    assert [statuses[b"sk-o", model] for model in targets] == [403, 200, 200, 200]
    assert [statuses[None, model] for model in targets] == [401, 401, 401, 200]


async def test_allowed_targets_hide_their_names_from_callers_without_a_key(lane: bool) -> None:
    """A target that is closed only by ``allowed_targets`` gives the same response as a missing model."""
    auth = {"key_definitions": {"trial": {"key": "sk-t", "allowed_targets": ["m"]}}}
    async with running(snapshot({"m": {"url": NOWHERE}}, auth=auth), lane=lane) as gateway:
        for fields in (b"", bearer(b"wrong")):
            closed = await ask(gateway.port, post(b'{"model":"m"}', fields=fields))
            missing = await ask(gateway.port, post(b'{"model":"n"}', fields=fields))
            assert (missing.head, missing.body) == (closed.head, closed.body)
        known = await ask(gateway.port, post(b'{"model":"n"}', fields=bearer(b"sk-t")))
    assert known.status == 404


async def test_a_definitions_limits_hold_on_open_targets(lane: bool) -> None:
    """A caller whose token matches a definition is limited even at a target that needs no key."""
    auth = {"key_definitions": {"slow": {"key": "sk-s", "rate_limit": {"requests_per_minute": 1, "burst_size": 1}}}}
    async with (
        origin() as upstream,
        running(snapshot({"m": {"url": upstream.url}, "n": {"url": upstream.url}}, auth=auth), lane=lane) as gateway,
    ):
        assert (await ask(gateway.port, post(b'{"model":"m"}', fields=bearer(b"sk-s")))).status == 200
        assert (await ask(gateway.port, post(b'{"model":"n"}', fields=bearer(b"sk-s")))).status == 429
        assert (await ask(gateway.port, post(b'{"model":"n"}', fields=bearer(b"sk-x")))).status == 200
        assert (await ask(gateway.port, post(b'{"model":"n"}'))).status == 200


@pytest.mark.either_door
@pytest.mark.parametrize("names", [(b"X-Api-Key", b"Api-Key"), (b"Api-Key", b"X-Api-Key")], ids=["x", "api"])
@pytest.mark.parametrize("keys", [(b"sk-a", b"other"), (b"other", b"sk-a")], ids=["good-first", "bad-first"])
async def test_two_different_api_keys_are_refused(
    lane: bool, names: tuple[bytes, bytes], keys: tuple[bytes, bytes]
) -> None:
    """The order of two header fields must not decide which key is used."""
    fields = b"".join(b"%b: %b\r\n" % pair for pair in zip(names, keys, strict=True))
    async with origin() as upstream, running(single(upstream.url, keys=["sk-a"]), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=fields))
    assert (response.status, response.error["code"]) == (403, "forbidden")
    assert not upstream.requests


@pytest.mark.either_door
@pytest.mark.parametrize(
    "fields",
    [
        b"X-Api-Key: sk-a\r\nApi-Key: sk-a\r\n",
        b"X-Api-Key: sk-a\r\nApi-Key:\r\n",
        b"Api-Key: \r\nX-Api-Key: sk-a\r\n",
        b"Api-Key: sk-a\r\nX-Api-Key: \r\n",
    ],
)
async def test_repeated_or_empty_api_key_fields_are_one_key(lane: bool, fields: bytes) -> None:
    """Some clients send both headers with the same key, or one of them empty. Neither header is forwarded."""
    async with origin() as upstream, running(single(upstream.url, keys=["sk-a"]), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=fields))
    assert response.status == 200
    assert b"sk-a" not in upstream.requests[0].raw


def test_either_door_alternates_in_each_direction(request: pytest.FixtureRequest) -> None:
    """The marker: of a table of two by two, one half runs behind each door, and each value behind both."""
    name = test_two_different_api_keys_are_refused.__name__
    cases = [item for item in request.session.items if isinstance(item, pytest.Function) and item.originalname == name]
    if not cases:
        pytest.skip("the table is not among the selected tests")
    for parameter in ("names", "keys"):
        found = [(case.callspec.params[parameter], case.callspec.params["lane"]) for case in cases]
        assert len(found) == len(set(found)) == 4
