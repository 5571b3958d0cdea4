"""The route table: who is led where, and what a refusal gives away."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from support.targets import snapshot

from onwards_py.auth import ANONYMOUS, Principal
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.limits.counters import Limiter
from onwards_py.limits.wait_queue import run_now
from onwards_py.live_state import ConfigHolder, LiveState
from onwards_py.model.limits import NO_LIMITS, Limits
from onwards_py.model.policies import RoutingRule
from onwards_py.model.pool import KeyDefinition, Pool
from onwards_py.model.provider import Provider
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.table import LivePool, RouteTable, check_access

A, B = (Principal(sha256(token).digest()) for token in (b"a", b"b"))


def live(name: str, *keys: Principal, open_: bool = False, empty: bool = False) -> LivePool:
    accepted = None if open_ else frozenset(key.digest for key in keys if key.digest is not None)
    providers = () if empty else (Provider(name, name),)
    members = tuple(Endpoint(provider, Limiter(NO_LIMITS, 0.0, run_now)) for provider in providers)
    return LivePool(Pool(name, providers, keys=accepted), Limiter(NO_LIMITS, 0.0, run_now), members)


def table(*targets: LivePool, keys: dict[bytes, Limiter] | None = None) -> RouteTable:
    return RouteTable({target.pool.name: target for target in targets}, keys or {})


def refused(table_: RouteTable, model: str, principal: Principal) -> ErrorKind:
    with pytest.raises(ProxyError) as error:
        table_.resolve(model, principal)
    return error.value.kind


def test_open_targets_are_for_everybody_and_closed_ones_for_their_keys() -> None:
    """401 without a token, 403 with another one."""
    targets = table(live("open", open_=True), live("a", A), live("nobody"))
    assert targets.resolve("open", ANONYMOUS).target.pool.name == "open"
    assert targets.resolve("a", A).target.pool.name == "a"
    assert refused(targets, "a", ANONYMOUS) is ErrorKind.UNAUTHENTICATED
    assert refused(targets, "a", B) is ErrorKind.FORBIDDEN
    assert refused(targets, "nobody", A) is ErrorKind.FORBIDDEN


def test_unknown_names_are_404_for_who_may_know() -> None:
    """With a closed target a missing model looks like a closed one to a caller without an accepted key."""
    mixed, all_open = table(live("open", open_=True), live("a", A)), table(live("open", open_=True))
    assert refused(mixed, "x", A) is ErrorKind.MODEL_NOT_FOUND
    assert refused(mixed, "x", ANONYMOUS) is refused(mixed, "a", ANONYMOUS)
    assert refused(mixed, "x", B) is refused(mixed, "a", B)
    assert refused(all_open, "x", ANONYMOUS) is ErrorKind.MODEL_NOT_FOUND


def test_a_pool_without_members_is_unavailable_not_unknown() -> None:
    """But only to who may use it."""
    targets = table(live("open", open_=True, empty=True), live("a", A, empty=True))
    assert refused(targets, "open", ANONYMOUS) is ErrorKind.NO_PROVIDER
    assert refused(targets, "a", A) is ErrorKind.NO_PROVIDER
    assert refused(targets, "a", ANONYMOUS) is ErrorKind.UNAUTHENTICATED


def test_a_key_with_limits_brings_its_limiter() -> None:
    """Beside the pool's, also into open pools; other keys bring none."""
    limiter = Limiter(Limits(concurrency=1), 0.0, run_now)
    assert A.digest is not None
    targets = table(live("open", open_=True), live("a", A, B), keys={A.digest: limiter})
    assert targets.resolve("open", A).limiters[1:] == (limiter,)
    assert targets.resolve("a", A).limiters[1:] == (limiter,)
    assert targets.resolve("a", B).limiters[1:] == ()
    assert targets.resolve("open", ANONYMOUS).limiters[1:] == ()


def test_visible_are_the_usable_ones_in_the_order_of_the_file() -> None:
    """What GET /v1/models lists."""
    targets = table(live("z", open_=True), live("b", A), live("a", A, B))
    assert targets.list_models(ANONYMOUS) == ["z"]
    assert targets.list_models(A) == ["z", "b", "a"]
    assert targets.list_models(B) == ["z", "a"]


FREE, PAID = {"tier": "free"}, {"tier": "paid"}


def caller(token: bytes, labels: dict[str, str] | None = None, targets: set[str] | None = None) -> Principal:
    allowed = None if targets is None else frozenset(targets)
    return Principal(sha256(token).digest(), KeyDefinition(token.decode(), labels=labels or {}, targets=allowed))


def ruled(name: str, *rules: RoutingRule, keys: tuple[Principal, ...] | None = None, empty: bool = False) -> LivePool:
    target = live(name, *(keys or ()), open_=keys is None, empty=empty)
    return replace(target, pool=replace(target.pool, rules=rules))


def led(table_: RouteTable, model: str, principal: Principal) -> tuple[str, bool]:
    route = table_.resolve(model, principal)
    assert route.limiters[0] is route.target.limiter
    return route.target.pool.name, route.redirected


def test_the_first_rule_that_matches_counts() -> None:
    """All pairs must be equal; no match is no rule."""
    rules = RoutingRule({"tier": "free", "eu": "yes"}, "b"), RoutingRule(FREE, "c"), RoutingRule(FREE)
    targets = table(ruled("a", *rules), live("b", open_=True), live("c", open_=True))
    assert led(targets, "a", caller(b"x", {**FREE, "eu": "yes"})) == ("b", True)
    assert led(targets, "a", caller(b"x", {**FREE, "eu": "no"})) == ("c", True)
    assert led(targets, "a", caller(b"x", FREE)) == ("c", True)
    assert led(targets, "a", caller(b"x", PAID)) == ("a", False)
    assert led(targets, "a", caller(b"x")) == ("a", False)


def test_deny_is_403() -> None:
    """For who has the labels, and for no other."""
    targets = table(ruled("a", RoutingRule(FREE)))
    assert refused(targets, "a", caller(b"x", FREE)) is ErrorKind.FORBIDDEN
    assert led(targets, "a", caller(b"x", PAID)) == ("a", False)


def test_no_labels_match_everybody_with_a_token() -> None:
    """Also a token that is not defined; without a token rules are passed by."""
    targets = table(ruled("a", RoutingRule({})))
    assert refused(targets, "a", caller(b"x", FREE)) is ErrorKind.FORBIDDEN
    assert refused(targets, "a", A) is ErrorKind.FORBIDDEN
    assert led(targets, "a", ANONYMOUS) == ("a", False)
    assert (targets.list_models(ANONYMOUS), targets.list_models(A)) == (["a"], [])
    assert refused(table(ruled("a", RoutingRule({}), empty=True)), "a", ANONYMOUS) is ErrorKind.NO_PROVIDER


def test_a_redirect_leads_once() -> None:
    """The rules of where it leads do not count: no circle, and no second look."""
    targets = table(ruled("a", RoutingRule(FREE, "b")), ruled("b", RoutingRule(FREE, "a"), RoutingRule({})))
    assert led(targets, "a", caller(b"x", FREE)) == ("b", True)
    assert led(targets, "b", caller(b"x", FREE)) == ("a", True)


def test_a_redirect_leads_nobody_past_the_keys_of_its_target() -> None:
    """In Onwards they are not looked at."""
    inside, outside = caller(b"in", FREE), caller(b"out", FREE)
    targets = table(ruled("a", RoutingRule(FREE, "b")), live("b", inside))
    assert led(targets, "a", inside) == ("b", True)
    assert refused(targets, "a", outside) is ErrorKind.FORBIDDEN
    assert refused(targets, "b", outside) is ErrorKind.FORBIDDEN


def test_keys_come_before_rules() -> None:
    """Who may not use the target is not led on by it."""
    targets = table(ruled("a", RoutingRule({}, "b"), keys=(A,)), live("b", open_=True))
    assert led(targets, "a", A) == ("b", True)
    assert refused(targets, "a", B) is ErrorKind.FORBIDDEN
    assert refused(targets, "a", ANONYMOUS) is ErrorKind.UNAUTHENTICATED


def test_rules_come_before_missing_providers() -> None:
    """A target without providers may exist to lead on; one that is led to must have some."""
    targets = table(ruled("a", RoutingRule(FREE, "b"), empty=True), live("b", open_=True, empty=True))
    assert refused(targets, "a", caller(b"x", FREE)) is ErrorKind.NO_PROVIDER
    assert refused(targets, "a", caller(b"x", PAID)) is ErrorKind.NO_PROVIDER
    answering = table(ruled("a", RoutingRule(FREE, "b"), empty=True), live("b", open_=True))
    assert led(answering, "a", caller(b"x", FREE)) == ("b", True)
    denying = table(ruled("a", RoutingRule(FREE), empty=True))
    assert refused(denying, "a", caller(b"x", FREE)) is ErrorKind.FORBIDDEN


def test_a_rule_that_leads_to_its_own_target_leads_nowhere() -> None:
    """As when all targets inherit it."""
    assert led(table(ruled("a", RoutingRule(FREE, "a"))), "a", caller(b"x", FREE)) == ("a", False)


def test_a_redirect_is_limited_by_its_target_and_the_key() -> None:
    """Not by the target that does no work."""
    limiter = Limiter(Limits(concurrency=1), 0.0, run_now)
    who = caller(b"x", FREE)
    assert who.digest is not None
    targets = table(ruled("a", RoutingRule(FREE, "b")), live("b", open_=True), keys={who.digest: limiter})
    b = targets.find("b")
    assert b is not None
    assert targets.resolve("a", who).limiters == (b.limiter, limiter)


def test_a_key_may_use_its_allowed_targets_and_no_others() -> None:
    """Neither open ones, nor those that list it, nor by a redirect."""
    who = caller(b"x", FREE, targets={"a", "c"})
    targets = table(
        live("a", who), live("b", who), ruled("c", RoutingRule(FREE, "open"), keys=(who,)), live("open", open_=True)
    )
    assert led(targets, "a", who) == ("a", False)
    for name in ("b", "open", "c"):
        assert refused(targets, name, who) is ErrorKind.FORBIDDEN
    assert targets.list_models(who) == ["a"]
    assert refused(targets, "x", who) is ErrorKind.MODEL_NOT_FOUND


def test_visible_is_what_would_not_be_refused() -> None:
    """Denied targets are hidden, redirecting ones are not, unless they lead to where the caller may not go."""
    free, paid = caller(b"f", FREE), caller(b"p", PAID)
    targets = table(
        ruled("denies", RoutingRule(FREE)),
        ruled("redirects", RoutingRule(FREE, "open")),
        ruled("shuts", RoutingRule(FREE, "closed")),
        live("open", open_=True),
        live("closed", paid),
    )
    assert targets.list_models(free) == ["redirects", "open"]
    assert targets.list_models(paid) == ["denies", "redirects", "shuts", "open", "closed"]
    assert targets.list_models(ANONYMOUS) == ["denies", "redirects", "shuts", "open"]


def test_who_is_led_on_by_a_classifier_is_denied_but_not_redirected() -> None:
    """The choice was made without looking at labels; the target's keys and allowed targets hold too."""
    free, paid = caller(b"f", FREE), caller(b"p", PAID)
    check_access(ruled("a", RoutingRule(FREE, "b"), RoutingRule({})), free)
    check_access(ruled("a", RoutingRule(FREE)), paid)
    check_access(ruled("a", RoutingRule({})), ANONYMOUS)
    for target, who, kind in (
        (ruled("a", RoutingRule(FREE)), free, ErrorKind.FORBIDDEN),
        (live("a", paid), free, ErrorKind.FORBIDDEN),
        (live("a", paid), ANONYMOUS, ErrorKind.UNAUTHENTICATED),
        (live("a", open_=True), caller(b"x", targets={"b"}), ErrorKind.FORBIDDEN),
        (live("a", open_=True, empty=True), free, ErrorKind.NO_PROVIDER),
    ):
        with pytest.raises(ProxyError) as error:
            check_access(target, who)
        assert error.value.kind is kind


def test_it_matters_who_calls_as_soon_as_there_is_a_rule() -> None:
    """An open target with a rule for everybody with a token needs to know who has one."""
    rules = [{"match_labels": {}, "action": {"type": "deny"}}]
    ruled_, plain = ({"m": {"url": "http://h", **options}} for options in ({"routing_rules": rules}, {}))
    assert ConfigHolder(snapshot(ruled_), LiveState(lambda: 0.0)).current.needs_principal
    assert not ConfigHolder(snapshot(plain), LiveState(lambda: 0.0)).current.needs_principal


def test_a_hundred_thousand_keys_are_looked_up_and_not_searched() -> None:
    """The table holds references: it compares no key but the presented one, and makes nothing per key."""
    looked = 0

    class Counting(bytes):
        def __eq__(self, other: object) -> bool:
            nonlocal looked
            looked += 1
            return bytes.__eq__(self, other)

        __hash__ = bytes.__hash__

    keys = frozenset(sha256(b"%d" % number).digest() for number in range(100_000))
    target = live("a")
    targets = table(replace(target, pool=replace(target.pool, keys=keys)))
    for token in (b"5", b"nobody"):
        who = Principal(Counting(sha256(token).digest()))
        assert ("a" in targets.list_models(who)) is (token == b"5")
    assert looked <= 2
