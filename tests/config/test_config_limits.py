"""Limits of keys, targets and providers, and what stands in for their absence."""

from __future__ import annotations

import pytest
from config_helpers import error, loaded, pool, provider, warnings

from onwards_py.model.limits import NO_LIMITS, Limits, QueuePolicy, RateLimit


def limits(text: str) -> Limits:
    """Those of the only provider of ``m``."""
    return provider(f"targets: {{m: {{url: http://h, {text}}}}}").limits


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("rate_limit: {requests_per_second: 5}", RateLimit(5, 5)),
        ("rate_limit: {requests_per_second: 5.0}", RateLimit(5, 5)),
        ("rate_limit: {requests_per_second: 0.5}", RateLimit(0.5, 1)),
        ("rate_limit: {requests_per_second: 0.5, burst_size: 2}", RateLimit(0.5, 2)),
        ("rate_limit: {requests_per_minute: 90}", RateLimit(1.5, 90)),
        ("rate_limit: {requests_per_minute: 0.5}", RateLimit(0.5 / 60, 1)),
        ("rate_limit: {requests_per_minute: 60, burst_size: 10}", RateLimit(1, 10)),
    ],
)
def test_a_bucket_without_a_size_holds_what_flows_in_within_its_unit(text: str, rate: RateLimit) -> None:
    """Per second or per minute, fractions allowed, and at least the one that a request takes."""
    assert limits(text) == Limits(rate)


def test_tokens_have_a_bucket_of_a_minute() -> None:
    """Or of the size that is given."""
    assert limits("token_limit: {tokens_per_minute: 60000}").tokens == RateLimit(1000, 60000)
    assert limits("token_limit: {tokens_per_minute: 60000, burst_size: 5}").tokens == RateLimit(1000, 5)


def test_waiting_is_a_choice_with_bounds() -> None:
    """``on_limit: queue``; reject is the default and may be said."""
    rate = "rate_limit: {requests_per_second: 1}, "
    assert limits(rate + "on_limit: queue").queue == QueuePolicy(100, 30)
    assert limits(rate + "on_limit: queue, queue: {max_waiting: 5}").queue == QueuePolicy(5, 30)
    assert limits(rate + "on_limit: queue, queue: {timeout: 500ms}").queue == QueuePolicy(100, 0.5)
    assert limits(rate + "on_limit: reject").queue is None
    assert limits("rate_limit: {requests_per_second: 1}").queue is None


def test_keys_and_pools_have_the_same_limits() -> None:
    """Every key of them at every level."""
    said = (
        "rate_limit: {requests_per_minute: 60, burst_size: 10}, concurrency_limit: {max_concurrent_requests: 4}, "
        "token_limit: {tokens_per_minute: 120}, on_limit: queue, queue: {max_waiting: 7, timeout: 3s}"
    )
    text = f"""
auth: {{key_definitions: {{a: {{key: k, {said}}}}}}}
targets: {{m: {{{said}, providers: [{{url: http://h, {said}}}, {{url: http://i}}]}}}}
"""
    made = loaded(text).snapshot
    wanted = Limits(RateLimit(1, 10), 4, RateLimit(2, 120), QueuePolicy(7, 3))
    assert [definition.limits for definition in made.key_definitions.values()] == [wanted]
    assert made.pools["m"].limits == wanted
    assert [member.limits for member in made.pools["m"].providers] == [wanted, NO_LIMITS]


def test_defaults_reach_targets_and_not_the_providers_of_pools() -> None:
    """Each word by itself: how to wait may be said once for all."""
    text = """
defaults: {on_limit: queue, queue: {timeout: 2s}, token_limit: {tokens_per_minute: 60}}
targets:
  m: {queue: {max_waiting: 3}, providers: [{url: http://h, rate_limit: {requests_per_second: 1}}]}
  n: {url: http://h, on_limit: reject}
"""
    assert pool(text).limits == Limits(tokens=RateLimit(1, 60), queue=QueuePolicy(3, 2))
    assert pool(text).providers[0].limits == Limits(RateLimit(1, 1))
    assert pool(text, name="n").providers[0].limits == Limits(tokens=RateLimit(1, 60))
    assert warnings(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rate_limit: {burst_size: 5}", "targets.m.rate_limit: needs 'requests_per_second' or"),
        (
            "rate_limit: {requests_per_minute: 5, requests_per_second: 5}",
            "rate_limit.requests_per_minute: is not allowed beside 'requests_per_second'; remove one of them",
        ),
        ("rate_limit: {requests_per_minute: 0}", "requests_per_minute: must be more than 0"),
        ("rate_limit: {requests_per_second: 1, burst_size: 0}", "burst_size: must be at least 1"),
        ("token_limit: {burst_size: 5}", "token_limit: 'tokens_per_minute' is missing"),
        ("token_limit: {tokens_per_minute: 0}", "tokens_per_minute: must be more than 0"),
        ("on_limit: wait", "on_limit: expected one of queue, reject"),
        ("queue: {max_waiting: 0}", "max_waiting: must be at least 1"),
        ("queue: {timeout: 0}", "timeout: must be longer than zero"),
    ],
)
def test_a_limit_that_makes_no_sense_is_an_error(text: str, message: str) -> None:
    """With its place."""
    line = error(f"targets: {{m: {{url: http://h, {text}}}}}")
    assert line.startswith("f.yaml:1:")
    assert message in line


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "targets: {m: {url: http://h, on_limit: queue}}",
            "f.yaml:1:30: targets.m.on_limit: has no effect: no limit is",
        ),
        (
            "targets: {m: {url: http://h, queue: {timeout: 1s}, rate_limit: {requests_per_second: 1}}}",
            "f.yaml:1:30: targets.m.queue: has no effect without 'on_limit: queue'",
        ),
        (
            "auth: {key_definitions: {a: {key: k, on_limit: queue}}}\ntargets: {m: {url: http://h}}",
            "f.yaml:1:38: auth.key_definitions.a.on_limit: has no effect",
        ),
        (
            "targets: {m: {on_limit: queue, providers: [{url: http://h, rate_limit: {requests_per_second: 1}}]}}",
            "f.yaml:1:15: targets.m.on_limit: has no effect",
        ),
    ],
)
def test_waiting_for_nothing_is_said(text: str, warning: str) -> None:
    """A queue belongs to limits of the same level."""
    (line,) = warnings(text)
    assert line.startswith(warning)
