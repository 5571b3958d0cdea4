"""Rules on the labels of the caller's key: denied requests, redirects, and the restrictions of a redirect."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from support.gateway import Gateway, running
from support.origin import LAST_CHUNK, STREAM_HEAD, Origin, chunk, origin, serve
from support.raw import Response, ask, get, post
from support.targets import snapshot

FREE, PAID, PLAIN, UNKNOWN = b"sk-free", b"sk-paid", b"sk-plain", b"sk-unknown"
DEFINITIONS = {
    "free": {"key": FREE.decode(), "labels": {"tier": "free", "region": "eu"}},
    "paid": {"key": PAID.decode(), "labels": {"tier": "paid"}},
    "plain": {"key": PLAIN.decode()},
}
DENY_FREE = {"match_labels": {"tier": "free"}, "action": {"type": "deny"}}
FREE_TO_SMALL = {"match_labels": {"tier": "free"}, "action": {"type": "redirect", "target": "small"}}
EXTRA = {"match_labels": {"tier": "free", "region": "us"}, "action": {"type": "deny"}}


@dataclass(frozen=True, slots=True)
class Ruled:
    """``big`` has rules that redirect to ``small``."""

    gateway: Gateway
    big: Origin
    small: Origin

    async def put(self, token: bytes | None, body: bytes = b'{"model":"big"}', fields: bytes = b"") -> Response:
        if token is not None:
            fields += b"Authorization: Bearer %b\r\n" % token
        return await ask(self.gateway.port, post(body, fields=fields))

    async def listed(self, token: bytes | None) -> list[str]:
        """The models that GET /v1/models returns."""
        fields = b"" if token is None else b"X-Api-Key: %b\r\n" % token
        response = await ask(self.gateway.port, get(b"/v1/models", fields))
        return [entry["id"] for entry in json.loads(response.body)["data"]]

    @property
    def asked(self) -> Mapping[str, int]:
        """The number of requests that each provider got."""
        return {"big": len(self.big.requests), "small": len(self.small.requests)}


@asynccontextmanager
async def ruled(
    lane: bool,
    *rules: object,
    big: Mapping[str, object] | None = None,
    small: Mapping[str, object] | None = None,
    stream: bytes | None = None,
    targets: Mapping[str, object] | None = None,
) -> AsyncIterator[Ruled]:
    """``stream``: the small provider sends these bytes as an event stream."""
    script = serve() if stream is None else serve(STREAM_HEAD + chunk(stream) + LAST_CHUNK)
    async with origin() as at_big, origin(script) as at_small:
        file = {
            "big": {"url": at_big.url, "routing_rules": list(rules), **(big or {})},
            "small": {"url": at_small.url, **(small or {})},
            **(targets or {}),
        }
        config = snapshot(file, auth={"key_definitions": DEFINITIONS})
        async with running(config, lane=lane) as gateway:
            yield Ruled(gateway, at_big, at_small)


async def test_deny_is_403_for_its_labels_only(lane: bool) -> None:
    """A request with an undefined key or without a key has no labels."""
    async with ruled(lane, EXTRA, DENY_FREE) as scene:
        denied = await scene.put(FREE)
        assert (denied.status, denied.error["code"]) == (403, "forbidden")
        for token in (PAID, PLAIN, UNKNOWN, None):
            assert (await scene.put(token)).status == 200
        assert scene.asked == {"big": 4, "small": 0}


async def test_a_redirect_is_answered_by_the_other_target(lane: bool) -> None:
    """Its name replaces the requested one, and no other byte changes."""
    body = b'{ "max_tokens":1e1,\n "model" : "big", "x":[1,2.50] }'
    async with ruled(lane, FREE_TO_SMALL) as scene:
        assert (await scene.put(FREE, body)).status == 200
        assert (await scene.put(PAID, body)).status == 200
        assert scene.asked == {"big": 1, "small": 1}
        assert scene.small.last.body == body.replace(b'"big"', b'"small"')
        assert scene.big.last.body == body
    assert [line["target"] for line in scene.gateway.lines()] == ["small", "big"]
    assert [line["key"] for line in scene.gateway.lines()] == ["free", "paid"]


async def test_a_redirected_provider_gets_its_own_model_name(lane: bool) -> None:
    """``onwards_model`` of the answering target applies."""
    async with ruled(lane, FREE_TO_SMALL, small={"onwards_model": "org/tiny"}) as scene:
        await scene.put(FREE)
        assert scene.small.last.body == b'{"model":"org/tiny"}'


async def test_a_redirect_by_header_does_not_change_a_body_without_a_model(lane: bool) -> None:
    """``model-override`` is read and not forwarded."""
    async with ruled(lane, FREE_TO_SMALL) as scene:
        assert (await scene.put(FREE, b'{"prompt":"x"}', b"Model-Override: big\r\n")).status == 200
        assert scene.small.last.body == b'{"prompt":"x"}'
        assert not scene.small.last.values(b"model-override")


async def test_a_redirected_stream_is_passed_on(lane: bool) -> None:
    """Every byte passes unchanged, as in any other stream."""
    events = b'data: {"a":1}\n\ndata: [DONE]\n\n'
    async with ruled(lane, FREE_TO_SMALL, stream=events) as scene:
        response = await scene.put(FREE)
    assert (response.status, response.body, response.whole) == (200, events, True)


async def test_the_first_rule_that_matches_counts(lane: bool) -> None:
    """The order is that of the file. All label pairs of a rule must be equal."""
    everybody = {"match_labels": {}, "action": {"type": "deny"}}
    async with ruled(lane, EXTRA, FREE_TO_SMALL, DENY_FREE, everybody) as scene:
        assert (await scene.put(FREE)).status == 200
        for token in (PAID, PLAIN, UNKNOWN):
            assert (await scene.put(token)).status == 403
        assert (await scene.put(None)).status == 200
        assert scene.asked == {"big": 1, "small": 1}


async def test_an_api_key_has_labels_too(lane: bool) -> None:
    """The labels belong to the key, whichever header carries it."""
    async with ruled(lane, DENY_FREE) as scene:
        assert (await scene.put(None, fields=b"X-API-Key: sk-free\r\n")).status == 403
        assert (await scene.put(None, fields=b"authorization: BEARER sk-free\r\n")).status == 403


@pytest.mark.parametrize(("keys", "status"), [(["paid"], 403), ([], 403), (["free"], 200)])
async def test_the_keys_of_a_redirects_target_are_checked(lane: bool, keys: list[str], status: int) -> None:
    """In Onwards a redirect bypasses them."""
    async with ruled(lane, FREE_TO_SMALL, small={"keys": keys}) as scene:
        assert (await scene.put(FREE)).status == status
        assert scene.asked == {"big": 0, "small": 1 if status == 200 else 0}


async def test_the_rules_of_a_redirects_target_do_not_count(lane: bool) -> None:
    """A redirect is one step only, so two rules that redirect to each other are no loop."""
    back = {"match_labels": {}, "action": {"type": "redirect", "target": "big"}}
    async with ruled(lane, FREE_TO_SMALL, small={"routing_rules": [back]}) as scene:
        assert (await scene.put(FREE)).status == 200
        assert (await scene.put(FREE, b'{"model":"small"}')).status == 200
        assert scene.asked == {"big": 1, "small": 1}


async def test_the_limits_of_a_redirects_target_hold_and_those_of_the_other_do_not(lane: bool) -> None:
    """A target that does not answer does not use its limits."""
    once = {"requests_per_minute": 1, "burst_size": 1}
    async with ruled(lane, FREE_TO_SMALL, big={"rate_limit": once}) as scene:
        assert [(await scene.put(FREE)).status for _ in range(3)] == [200, 200, 200]
        assert (await scene.put(PAID)).status == 200
    async with ruled(lane, FREE_TO_SMALL, small={"rate_limit": once}) as scene:
        assert [(await scene.put(FREE)).status for _ in range(2)] == [200, 429]
        assert (await scene.put(PAID)).status == 200


async def test_a_redirect_to_a_target_without_providers_is_503(lane: bool) -> None:
    """The response is that of a request for that target. Onwards sends 502."""
    rule = {"match_labels": {"tier": "free"}, "action": {"type": "redirect", "target": "empty"}}
    async with ruled(lane, rule, targets={"empty": {"providers": []}}) as scene:
        assert (await scene.put(FREE)).status == 503
        assert (await scene.put(PAID)).status == 200


async def test_a_target_without_providers_may_redirect(lane: bool) -> None:
    """Rules are checked before the providers."""
    rules = [FREE_TO_SMALL, {"match_labels": {"tier": "paid"}, "action": {"type": "deny"}}]
    front = {"front": {"providers": [], "routing_rules": rules}}
    async with ruled(lane, targets=front) as scene:
        statuses = [(await scene.put(token, b'{"model":"front"}')).status for token in (FREE, PAID, PLAIN)]
    assert statuses == [200, 403, 503]


async def test_the_list_of_models_hides_denied_and_shows_redirected_targets(lane: bool) -> None:
    """It contains what the caller may request, whichever target answers."""
    denying = {"denying": {"url": "http://127.0.0.1:1", "routing_rules": [DENY_FREE]}}
    async with ruled(lane, FREE_TO_SMALL, targets=denying) as scene:
        assert await scene.listed(FREE) == ["big", "small"]
        assert await scene.listed(PAID) == ["big", "small", "denying"]
        assert await scene.listed(None) == ["big", "small", "denying"]
        refused = await ask(scene.gateway.port, get(b"/v1/models/denying", b"X-Api-Key: sk-free\r\n"))
        assert refused.status == 404
    async with ruled(lane, FREE_TO_SMALL, small={"keys": ["paid"]}) as scene:
        assert await scene.listed(FREE) == []
        assert await scene.listed(PAID) == ["big", "small"]


async def test_a_key_needs_both_targets_allowed_for_a_redirect(lane: bool) -> None:
    """``allowed_targets`` are the targets that may answer, with a redirect or without."""
    for allowed, status in ((["big"], 403), (["big", "small"], 200)):
        async with origin() as upstream:
            definitions = {"trial": {**DEFINITIONS["free"], "allowed_targets": allowed}}  # type: ignore[dict-item]
            targets = {
                "big": {"url": upstream.url, "routing_rules": [FREE_TO_SMALL]},
                "small": {"url": upstream.url, "keys": []},
            }
            config = snapshot(targets, auth={"key_definitions": definitions})
            async with running(config, lane=lane) as gateway:
                response = await ask(gateway.port, post(b'{"model":"big"}', fields=b"X-Api-Key: sk-free\r\n"))
        assert response.status == status
