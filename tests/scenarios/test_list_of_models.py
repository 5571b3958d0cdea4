"""``GET /v1/models`` lists exactly the targets that the caller's key may use."""

from __future__ import annotations

import json

import pytest
from support.gateway import running
from support.origin import Origin, origin
from support.raw import ask, get, post
from support.responses_promises import Json
from support.targets import snapshot

FREE: Json = {"tier": "free"}


DENY: Json = {"match_labels": FREE, "action": {"type": "deny"}}


def led(target: str) -> Json:
    return {"match_labels": FREE, "action": {"type": "redirect", "target": target}}


def mixed(upstream: Origin) -> Json:
    """Targets that accept different keys."""
    one: Json = {"url": upstream.url}
    return {
        "denied": {**one, "keys": ["free", "paid"], "routing_rules": [DENY]},
        "led-away": {**one, "keys": ["free", "paid"], "routing_rules": [led("paid-only")]},
        "led": {**one, "keys": ["free", "paid", "bound"], "routing_rules": [led("open")]},
        "paid-only": {**one, "keys": ["paid"]},
        "open": one,
        "open-denied": {**one, "routing_rules": [{"match_labels": {}, "action": {"type": "deny"}}]},
        "nobody": {**one, "keys": []},
    }


@pytest.mark.either_door
@pytest.mark.parametrize("key", ["", "sk-free", "sk-paid", "sk-bound", "sk-none", "sk-unknown"])
async def test_the_list_of_models_contains_what_the_key_may_use(lane: bool, key: str) -> None:
    """Rules, key lists and allowed targets all apply. The list agrees with a request to each target, and with each
    model by its id."""
    fields = f"Authorization: Bearer {key}\r\n".encode() if key else b""
    definitions: Json = {
        "free": {"key": "sk-free", "labels": FREE},
        "paid": {"key": "sk-paid", "labels": {"tier": "paid"}},
        "bound": {"key": "sk-bound", "labels": FREE, "allowed_targets": ["led", "denied"]},
        "none": {"key": "sk-none", "allowed_targets": []},
    }
    async with origin() as upstream:
        targets = mixed(upstream)
        async with running(snapshot(targets, auth={"key_definitions": definitions}), lane=lane) as gateway:
            listed = await ask(gateway.port, get(b"/v1/models", fields))
            shown = {model["id"] for model in json.loads(listed.body)["data"]}
            for name in targets:
                response = await ask(gateway.port, post(b'{"model":"%b"}' % name.encode(), fields=fields))
                assert (name, response.status == 200) == (name, name in shown)
                one = await ask(gateway.port, get(b"/v1/models/" + name.encode(), fields))
                assert (name, one.status) == (name, 200 if name in shown else 404)
