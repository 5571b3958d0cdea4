"""``/status``: what is in force, who is busy, who is well, and no secrets."""

from __future__ import annotations

import json

from support.gateway import running
from support.raw import ask, get
from support.targets import snapshot

from onwards_py.config.parse import LoadedConfig

TARGETS = {
    "pool": {
        "providers": [
            {"url": "https://user.example:8443/v1", "onwards_key": "sk-canary", "name": "first", "weight": 3},
            {"local": {"engine": "echo"}},
        ],
        "keys": ["sk-client-canary"],
    },
    "m": {"url": "http://a"},
}


async def test_it_describes_every_target_and_provider() -> None:
    """Names, authority, weight, how many exchanges, and how healthy."""
    async with running(snapshot(TARGETS), lane=True) as gateway:
        holder = gateway.application.holder
        target = holder.current.table.find("pool")
        assert target is not None
        first = target.endpoints[0]
        assert first.health is not None
        for _ in range(5):
            first.health.failed(0.0)
        first.limiter.in_flight = 2
        response = await ask(gateway.admin_port, get(b"/status"))
        first.limiter.in_flight = 0
        assert b"canary" not in response.body
        status = json.loads(response.body)
        assert list(status) == ["version", "uptime_seconds", "config", "targets"]
        assert status["targets"] == [
            {
                "name": "pool",
                "strategy": "weighted_random",
                "in_flight": 0,
                "providers": [
                    {"name": "first", "host": "user.example:8443", "weight": 3, "in_flight": 2, "health": "ejected"},
                    {"name": "echo", "host": "", "weight": 1, "in_flight": 0, "health": "healthy"},
                ],
            },
            {
                "name": "m",
                "strategy": "weighted_random",
                "in_flight": 0,
                "providers": [{"name": "a", "host": "a", "weight": 1, "in_flight": 0, "health": None}],
            },
        ]


async def test_it_follows_what_is_applied() -> None:
    """Targets are those of the table that requests use."""
    async with running(snapshot(TARGETS), lane=True) as gateway:
        gateway.application.apply(LoadedConfig(snapshot({"other": {"url": "http://b"}})))
        status = json.loads((await ask(gateway.admin_port, get(b"/status"))).body)
        assert [target["name"] for target in status["targets"]] == ["other"]
