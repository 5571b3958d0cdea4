"""What `route` says of a pool's conduct: everything that is on, and nothing that is off."""

from __future__ import annotations

import pytest

from onwards_py.model.limits import Limits, QueuePolicy, RateLimit
from onwards_py.model.policies import (
    Affinity,
    EjectionPolicy,
    FallbackPolicy,
    HedgePolicy,
    HoldPolicy,
    RoutingRule,
    Strategy,
)
from onwards_py.model.pool import Pool
from onwards_py.model.provider import HealthCheck, Origin, Provider, Timeouts
from onwards_py.routing.explain import describe_attempts, describe_resilience, expected_order

PAIR = (Provider("a", "a"), Provider("b", "b", weight=3))


def test_all_features_that_are_on_are_described() -> None:
    """One sentence each, with the figures of the configuration."""
    checked = Provider("c", "c", health_check=HealthCheck(b"/health", interval=2.5))
    pool = Pool(
        "m",
        (*PAIR, checked),
        Strategy.P2C,
        FallbackPolicy(enabled=True, hold=HoldPolicy(1000, 2.0)),
        affinity=Affinity((b"x-session-id", b"x-b"), 512),
        hedge=HedgePolicy(2.0),
    )
    assert describe_resilience(pool) == [
        "affinity: requests with the same x-session-id, else x-b, else the first 512 bytes of the prompt "
        "go to one provider, unless it has more than 1.25 times its share",
        "ejection: after 5 failures in a row, failures of 50% of 20 or more in 30 s, "
        "5 refusals of its credential in a row; for 5 s, twice as long each time, 10 s at most; "
        "never the last provider",
        "health check of c: GET /health every 2.5 s; unhealthy after 3 failures in a row, healthy after 2 successes",
        "retry budget: further attempts for 20% of the requests, and 10 a second",
        "Retry-After: up to 10 s are honoured",
        "hold: a response is held until its first content, 2 s and 1000 bytes at most",
        "hedge: without a response head within 2 s, a second provider gets the request, too; for 5% of the requests",
    ]


@pytest.mark.parametrize(
    "pool",
    [
        Pool("m", PAIR, ejection=None),
        Pool("m", PAIR[:1], affinity=Affinity((b"x",)), hedge=HedgePolicy(1.0)),
        Pool("m", (PAIR[0], Provider("b", "b", weight=0))),
        Pool("m", ()),
        Pool("m", PAIR, ejection=None, fallback=FallbackPolicy(enabled=True, max_attempts=1, hold=HoldPolicy())),
        Pool("m", PAIR, ejection=None, fallback=FallbackPolicy(enabled=True, budget=None, max_retry_after=0.0)),
    ],
)
def test_nothing_that_is_off_or_without_effect_is_said(pool: Pool) -> None:
    """Of one provider there is no other to choose; of one attempt no further one."""
    assert describe_resilience(pool) == []


def test_ejection_without_a_rule_still_honours_retry_after() -> None:
    """A pause after 429 needs no rule."""
    nothing = EjectionPolicy(consecutive_failures=None, failure_rate=None, auth_failures=None)
    (sentence,) = describe_resilience(Pool("m", PAIR, ejection=nothing))
    assert sentence.startswith("ejection: only for 429 and Retry-After")


def test_p2c_says_what_it_compares() -> None:
    """With the weights that the latencies are divided by."""
    choices = expected_order(Pool("m", PAIR, Strategy.P2C))
    assert [choice.provider.name for choice in choices] == ["b", "a"]
    assert all("time to first byte" in choice.reason for choice in choices)


def test_what_is_seen_in_held_answers_is_among_the_causes() -> None:
    """Errors and silence inside a 200, and the time to the first token."""
    policy = FallbackPolicy(enabled=True, statuses=frozenset({503}), hold=HoldPolicy())
    slow = Provider("a", "a", timeouts=Timeouts(first_token=1.0))
    causes = describe_attempts(Pool("m", (slow, PAIR[1]), fallback=policy))
    assert causes == (
        "up to 2 attempts; the next one after: no connection, no response head in time (600 s), no first token in "
        "time, status 503, a response that begins with such an error, or ends without content"
    )


def test_rules_and_limits_are_told() -> None:
    """Who is led where, and what bounds the target and each provider, in the words of the file."""
    limits = Limits(RateLimit(0.5, 2), 4, RateLimit(1000, 60000), QueuePolicy(10, 5.0))
    own = Provider("id", "own", origin=Origin(False, "h", 80), limits=Limits(concurrency=1))
    rules = (RoutingRule({"tier": "free"}, "small"), RoutingRule({}))
    assert describe_resilience(Pool("m", (own,), limits=limits, rules=rules)) == [
        "rule: keys with tier=free are redirected to small",
        "rule: all other keys are rejected",
        "limits of target: 30 requests a minute, 2 at once; 1000 tokens a second, 60000 at once; 4 at a time; "
        "10 more wait, 5 s at most",
        "limits of own: 1 at a time; others get 429",
    ]
