"""Limits at each of their three levels: a target ``m`` for the key ``sk-a``, and the limiter that is then asked."""

from __future__ import annotations

import time

from onwards_py.auth import identify
from onwards_py.limits.counters import Limiter
from onwards_py.model.snapshot import Snapshot
from onwards_py.routing.health import Health
from support.gateway import Gateway
from support.responses_promises import Json
from support.targets import snapshot

KEY = b"Authorization: Bearer sk-a\r\n"
LEVELS = ["key", "pool", "provider"]


def limited(level: str, limits: Json, **provider: object) -> Snapshot:
    """One target with one provider; ``limits`` stand at ``level``."""
    key, pool, own = (limits if level == each else {} for each in LEVELS)
    targets = {"m": {"keys": ["a"], "providers": [{**provider, **own}], **pool}}
    return snapshot(targets, auth={"key_definitions": {"a": {"key": "sk-a", **key}}})


def limiter(gateway: Gateway, level: str) -> Limiter:
    """The live limiter of ``level``."""
    current = gateway.application.holder.current
    route = current.table.resolve("m", identify(b"Bearer sk-a", None, current.snapshot.key_definitions))
    if level == "provider":
        return route.target.endpoints[0].limiter
    return route.limiters[-1] if level == "key" else route.target.limiter


def waiting(gateway: Gateway, level: str) -> int:
    """How many wait there."""
    line = limiter(gateway, level).queue
    return 0 if line is None else line.waiting


def spent(gateway: Gateway, level: str) -> int:
    """Tokens that are missing in the bucket, which hardly refills."""
    tokens = limiter(gateway, level).tokens
    assert tokens is not None
    return round(tokens.limit.burst - tokens.remaining(time.monotonic()))


def estimate(request: bytes) -> int:
    """What a request is taken for before it is answered."""
    return len(request.partition(b"\r\n\r\n")[2]) // 4 + 1


def health(gateway: Gateway) -> Health:
    """That of the first provider of the target ``m``."""
    target = gateway.application.holder.current.table.find("m")
    assert target is not None
    found = target.endpoints[0].health
    assert found is not None
    return found
