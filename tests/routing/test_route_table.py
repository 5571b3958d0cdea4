"""The route table: who is led where, and what a refusal gives away."""

from __future__ import annotations

from hashlib import sha256

import pytest

from onwards_py.auth import ANONYMOUS, Principal
from onwards_py.errors import Kind, ProxyError
from onwards_py.limits.counters import Limiter
from onwards_py.limits.line import at_once
from onwards_py.routing.balancer import Member
from onwards_py.routing.model import NO_LIMITS, Limits, Pool, Provider
from onwards_py.routing.table import LivePool, RouteTable

A, B = (Principal(sha256(token).digest()) for token in (b"a", b"b"))


def live(name: str, *keys: Principal, open_: bool = False, empty: bool = False) -> LivePool:
    accepted = None if open_ else frozenset(key.digest for key in keys if key.digest is not None)
    providers = () if empty else (Provider(name, name),)
    members = tuple(Member(provider, Limiter(NO_LIMITS, 0.0, at_once)) for provider in providers)
    return LivePool(Pool(name, providers, keys=accepted), Limiter(NO_LIMITS, 0.0, at_once), members)


def table(*targets: LivePool, keys: dict[bytes, Limiter] | None = None) -> RouteTable:
    return RouteTable({target.pool.name: target for target in targets}, keys or {})


def refused(table_: RouteTable, model: str, principal: Principal) -> Kind:
    with pytest.raises(ProxyError) as error:
        table_.resolve(model, principal)
    return error.value.kind


def test_open_targets_are_for_everybody_and_closed_ones_for_their_keys() -> None:
    """401 without a token, 403 with another one."""
    targets = table(live("open", open_=True), live("a", A), live("nobody"))
    assert targets.resolve("open", ANONYMOUS).target.pool.name == "open"
    assert targets.resolve("a", A).target.pool.name == "a"
    assert refused(targets, "a", ANONYMOUS) is Kind.UNAUTHENTICATED
    assert refused(targets, "a", B) is Kind.FORBIDDEN
    assert refused(targets, "nobody", A) is Kind.FORBIDDEN


def test_unknown_names_are_404_for_who_may_know() -> None:
    """B14: with a closed target a missing model looks like a closed one to a caller without an accepted key."""
    mixed, all_open = table(live("open", open_=True), live("a", A)), table(live("open", open_=True))
    assert refused(mixed, "x", A) is Kind.MODEL_NOT_FOUND
    assert refused(mixed, "x", ANONYMOUS) is refused(mixed, "a", ANONYMOUS)
    assert refused(mixed, "x", B) is refused(mixed, "a", B)
    assert refused(all_open, "x", ANONYMOUS) is Kind.MODEL_NOT_FOUND


def test_a_pool_without_members_is_unavailable_not_unknown() -> None:
    """But only to who may use it."""
    targets = table(live("open", open_=True, empty=True), live("a", A, empty=True))
    assert refused(targets, "open", ANONYMOUS) is Kind.NO_PROVIDER
    assert refused(targets, "a", A) is Kind.NO_PROVIDER
    assert refused(targets, "a", ANONYMOUS) is Kind.UNAUTHENTICATED


def test_a_key_with_limits_brings_its_limiter() -> None:
    """Beside the pool's, also into open pools; other keys bring none."""
    limiter = Limiter(Limits(concurrency=1), 0.0, at_once)
    assert A.digest is not None
    targets = table(live("open", open_=True), live("a", A, B), keys={A.digest: limiter})
    assert targets.resolve("open", A).limiters[1:] == (limiter,)
    assert targets.resolve("a", A).limiters[1:] == (limiter,)
    assert targets.resolve("a", B).limiters[1:] == ()
    assert targets.resolve("open", ANONYMOUS).limiters[1:] == ()


def test_visible_are_the_usable_ones_in_the_order_of_the_file() -> None:
    """What GET /v1/models lists."""
    targets = table(live("z", open_=True), live("b", A), live("a", A, B))
    assert targets.visible(ANONYMOUS) == ["z"]
    assert targets.visible(A) == ["z", "b", "a"]
    assert targets.visible(B) == ["z", "a"]
