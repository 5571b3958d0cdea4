"""What is done about providers that fail or are slow, as the file says it."""

from __future__ import annotations

import pytest
from config_helpers import error, errors, loaded, pool, warnings

from onwards_py.model.policies import (
    Affinity,
    EjectionPolicy,
    FallbackPolicy,
    HedgePolicy,
    HoldPolicy,
    RetryBudgetPolicy,
    Strategy,
)
from onwards_py.model.pool import Pool
from onwards_py.model.provider import HealthCheck

TWO = "providers: [{url: http://a}, {url: http://b}]"


def made(text: str, above: str = "{}") -> Pool:
    """The pool of two that says ``text``, below ``above``."""
    return pool(f"defaults: {above}\ntargets: {{m: {{{TWO}, {text}}}}}")


def test_the_strategies_have_names() -> None:
    """Four, of which the first is the default."""
    for strategy in Strategy:
        assert made(f"strategy: {strategy.value}").strategy is strategy
    assert made("trusted: false").strategy is Strategy.WEIGHTED_RANDOM


def test_ejection_is_on_by_default_and_every_figure_can_be_said() -> None:
    """0 means never for that reason."""
    assert made("trusted: false").ejection == EjectionPolicy()
    assert made("ejection: {}").ejection == EjectionPolicy()
    assert made("ejection: {enabled: false, consecutive_failures: 3}").ejection is None
    said = (
        "ejection: {enabled: true, consecutive_failures: 2, failure_rate: 0.25, min_requests: 7, window: 1m, "
        "auth_failures: 3, base_time: 500ms, max_time: 2s}"
    )
    assert made(said).ejection == EjectionPolicy(2, 0.25, 7, 60.0, 3, 0.5, 2.0)
    never = made("ejection: {consecutive_failures: 0, failure_rate: 0, auth_failures: 0}").ejection
    assert never == EjectionPolicy(consecutive_failures=None, failure_rate=None, auth_failures=None)


def test_ejection_of_a_single_provider_is_not_worth_a_word() -> None:
    """It concerns pools of two or more."""
    assert warnings("targets: {m: {url: http://h, ejection: {consecutive_failures: 1}}}") == []


def test_a_budget_is_on_by_default_and_can_be_switched_off() -> None:
    """Each figure by itself."""
    assert made("fallback: {enabled: true}").fallback.budget == RetryBudgetPolicy(0.2, 10.0)
    assert made("fallback: {enabled: true, retry_budget: {ratio: 1}}").fallback.budget == RetryBudgetPolicy(1.0, 10.0)
    said = "fallback: {enabled: true, retry_budget: {ratio: 0, min_per_second: 0.5}}"
    assert made(said).fallback.budget == RetryBudgetPolicy(0.0, 0.5)
    assert made("fallback: {enabled: true, retry_budget: {enabled: false}}").fallback.budget is None


def test_answers_are_held_only_where_it_is_said() -> None:
    """And a longest Retry-After is in seconds."""
    assert made("fallback: {enabled: true}").fallback.hold is None
    assert made("fallback: {enabled: true, hold: {}}").fallback.hold == HoldPolicy(256 * 1024, 10.0)
    said = "fallback: {enabled: true, hold: {max_bytes: 1KiB, max_time: 2s}, max_retry_after_ms: 0}"
    assert made(said).fallback.hold == HoldPolicy(1024, 2.0)
    assert made(said).fallback.max_retry_after == 0
    assert made("fallback: {enabled: true, max_retry_after_ms: 1500}").fallback.max_retry_after == 1.5


def test_no_word_about_fallback_is_the_default_policy() -> None:
    """Off."""
    assert made("trusted: false").fallback == FallbackPolicy()


def test_affinity_goes_by_headers_or_by_the_prompt() -> None:
    """Header names in lower case, as they are compared."""
    said = "affinity: {session: [X-Session-Id, session_id], prompt_bytes: 1024, max_load: 1.5}"
    assert made(said).affinity == Affinity((b"x-session-id", b"session_id"), 1024, 1.5)
    assert made("affinity: {prompt_bytes: 5}").affinity == Affinity((), 5, 1.25)
    assert made("trusted: false").affinity is None


def test_hedging_needs_a_time() -> None:
    """And has a share of its own."""
    assert made("hedge: {after: 2s}").hedge == HedgePolicy(2.0, 0.05)
    assert made("hedge: {after: 250ms, ratio: 0.1}").hedge == HedgePolicy(0.25, 0.1)
    assert made("trusted: false").hedge is None


def test_checks_and_timeouts_are_handed_down_to_remote_providers() -> None:
    """Key by key; a local provider has no use for them."""
    text = """
defaults: {health_check: {interval: 1s}, timeouts: {first_token: 5s}}
targets:
  m:
    health_check: {path: /health?deep=1, unhealthy_after: 1}
    timeouts: {connect: 1s}
    providers:
      - {url: http://a, health_check: {timeout: 2s, healthy_after: 4}}
      - {url: http://b, timeouts: {first_token: 1s}}
      - {url: http://c, health_check: {enabled: false}}
      - {local: {engine: echo}}
"""
    first, second, third, fourth = pool(text).providers
    assert first.health_check == HealthCheck(b"/health?deep=1", 1.0, 2.0, 1, 4)
    assert second.health_check == HealthCheck(b"/health?deep=1", 1.0, 5.0, 1, 2)
    assert (third.health_check, fourth.health_check) == (None, None)
    assert [first.timeouts.first_token, second.timeouts.first_token, second.timeouts.connect] == [5.0, 1.0, 1.0]
    assert warnings(text) == []


def test_nothing_is_checked_unless_it_is_said() -> None:
    """A check costs the provider work; an empty one is with all defaults."""
    assert made("trusted: false").providers[0].health_check is None
    assert made("health_check: {}").providers[0].health_check == HealthCheck()
    assert made("trusted: false").providers[0].timeouts.first_token is None


def test_what_defaults_switch_on_a_target_switches_off() -> None:
    """And takes the figures of defaults where it says nothing of its own."""
    above = (
        "{affinity: {prompt_bytes: 9}, hedge: {after: 1s}, health_check: {interval: 3s}, ejection: {window: 9s}, "
        "fallback: {enabled: true, hold: {max_time: 1s}, retry_budget: {ratio: 0.5}}}"
    )
    on = made("fallback: {hold: {max_bytes: 5}, retry_budget: {min_per_second: 1}}, ejection: {base_time: 1s}", above)
    assert (on.affinity, on.hedge) == (Affinity((), 9), HedgePolicy(1.0))
    assert on.providers[0].health_check == HealthCheck(interval=3.0)
    assert (on.fallback.hold, on.fallback.budget) == (HoldPolicy(5, 1.0), RetryBudgetPolicy(0.5, 1.0))
    assert on.ejection == EjectionPolicy(window=9.0, base_time=1.0)
    off = made(
        "affinity: {enabled: false}, hedge: {enabled: false}, health_check: {enabled: false}, "
        "ejection: {enabled: false}, fallback: {hold: {enabled: false}, retry_budget: {enabled: false}}",
        above,
    )
    assert (off.affinity, off.hedge, off.ejection, off.fallback.hold, off.fallback.budget) == (None,) * 5
    assert off.providers[0].health_check is None


def test_every_word_stands_beside_a_single_url_too() -> None:
    """A target with one provider is a pool of one."""
    text = (
        "targets: {m: {url: http://h, health_check: {path: /up}, timeouts: {first_token: 1s}, hedge: {after: 1s}, "
        "affinity: {prompt_bytes: 1}, ejection: {enabled: false}, fallback: {enabled: true}, strategy: p2c}}"
    )
    single = pool(text)
    assert single.providers[0].health_check == HealthCheck(b"/up")
    assert (single.hedge, single.affinity, single.ejection) == (HedgePolicy(1.0), Affinity((), 1), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hedge: {after: 0}", "hedge.after: must be longer than zero"),
        ("hedge: {after: -1}", "hedge.after: expected a duration"),
        ("hedge: {}", "targets.m.hedge: 'after' is missing"),
        ("hedge: {after: 1s, ratio: 2}", "hedge.ratio: must be at most 1"),
        ("affinity: {}", "targets.m.affinity: needs 'session' or 'prompt_bytes'"),
        ("affinity: {prompt_bytes: 0}", "prompt_bytes: must be at least 1"),
        ("affinity: {prompt_bytes: 1, max_load: 0.5}", "max_load: must be at least 1"),
        ("affinity: {session: ['a b']}", "session[0]: is not a header name"),
        ("ejection: {failure_rate: 50}", "failure_rate: must be at most 1"),
        ("ejection: {base_time: 2m, max_time: 1m}", "ejection: 'max_time' is shorter than 'base_time'"),
        ("ejection: {min_requests: 0}", "min_requests: must be at least 1"),
        ("fallback: {enabled: true, max_attempts: 0}", "max_attempts: must be at least 1"),
        ("fallback: {enabled: true, retry_budget: {ratio: -1}}", "ratio: must be at least 0"),
        ("fallback: {enabled: true, hold: {max_time: 0}}", "max_time: must be longer than zero"),
        ("fallback: {enabled: true, hold: {max_bytes: 0}}", "max_bytes: must be at least one byte"),
        ("health_check: {path: models}", "path: expected a path that begins with '/'"),
        ("health_check: {path: '/a b'}", "path: expected a path that begins with '/'"),
        ("health_check: {path: '/a#b'}", "path: expected a path that begins with '/'"),
        ("health_check: {interval: 0}", "interval: must be longer than zero"),
        ("health_check: {unhealthy_after: 0}", "unhealthy_after: must be at least 1"),
        ("timeouts: {first_token: 0}", "first_token: must be longer than zero"),
        ("strategy: p2", "strategy: expected one of weighted_random, priority, least_inflight, p2c"),
    ],
)
def test_a_figure_that_makes_no_sense_is_an_error(text: str, message: str) -> None:
    """With its place."""
    line = error(f"targets: {{m: {{{TWO}, {text}}}}}")
    assert line.startswith("f.yaml:1:")
    assert message in line


def test_a_local_provider_is_not_checked() -> None:
    """Its process is watched anyway, and it has no address to ask."""
    text = "targets: {m: {providers: [{local: {engine: echo}, health_check: {}}]}}"
    assert error(text) == (
        "f.yaml:1:51: targets.m.providers[0].health_check: "
        "is not allowed for a local provider, whose process is always monitored"
    )
    assert errors("targets: {m: {local: {engine: echo}, health_check: {}}}")


def test_a_mistake_in_defaults_is_reported_there_and_once() -> None:
    """Not again for every target that inherits it."""
    text = "defaults: {hedge: {ratio: 0.1}, affinity: {max_load: 2}}\ntargets: {m: {url: http://h}, n: {url: http://h}}"
    assert errors(text) == [
        "f.yaml:1:12: defaults.hedge: 'after' is missing",
        "f.yaml:1:33: defaults.affinity: needs 'session' or 'prompt_bytes' to identify conversations",
    ]


@pytest.mark.parametrize("word", ["affinity: {prompt_bytes: 1}", "hedge: {after: 1s}", "ejection: {}", "fallback: {}"])
def test_nothing_of_it_stands_beside_route_by(word: str) -> None:
    """Another target answers, with what it says itself."""
    text = (
        f"targets: {{c: {{url: http://h}}, m: {{route_by: {{classifier: c, labels: {{a: c}}, default: c}}, {word}}}}}"
    )
    assert any("is not allowed beside 'route_by'" in line for line in errors(text))
    assert loaded(text.replace(f", {word}", "")).snapshot.pools["m"].route_by is not None


SECOND = "{url: 'http://b'}"


@pytest.mark.parametrize(
    ("providers", "options", "streamed"),
    [
        (SECOND, "fallback: {enabled: true}", 60.0),
        (SECOND, "", None),
        (SECOND, "fallback: {enabled: true, max_attempts: 1}", None),
        (SECOND, "fallback: {enabled: true, only_if_failed_within_ms: 60000}", None),
        (SECOND, "fallback: {enabled: true, only_if_failed_within_ms: 61000}", 60.0),
        ("{url: 'http://b', weight: 0}", "fallback: {enabled: true}", None),
        ("{url: 'http://a'}", "fallback: {enabled: true, max_attempts: 3}", None),
        (SECOND, "fallback: {enabled: true}, timeouts: {first_byte: 7s}", None),
        (SECOND, "fallback: {enabled: true}, request_timeout_secs: 7", None),
        (SECOND, "fallback: {enabled: true}, timeouts: {idle: 7s}", 60.0),
    ],
)
def test_a_stream_has_less_time_for_its_head_where_another_provider_can_be_asked(
    providers: str, options: str, streamed: float | None
) -> None:
    """Unless the file says how much; a whole answer has 600 s, as the SDKs do."""
    text = f"targets: {{m: {{providers: [{{url: 'http://a'}}, {providers}], {options}}}}}"
    timeouts = pool(text).providers[0].timeouts
    assert timeouts.first_byte_streamed == streamed
    assert timeouts.first_byte == (7.0 if "first_byte" in options or "secs" in options else 600.0)


def test_a_local_model_has_its_time_for_streams_too() -> None:
    """It may have to be loaded first."""
    text = "targets: {m: {providers: [{local: {engine: echo}}, {url: 'http://b'}], fallback: {enabled: true}}}"
    local, remote = pool(text).providers
    assert (local.timeouts.head_of_stream, remote.timeouts.head_of_stream) == (None, 60.0)
