"""Health: the events that eject a provider, the duration, and the end of an ejection."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.model.policies import EjectionPolicy
from onwards_py.model.provider import HealthCheck
from onwards_py.routing.health import LONGEST_RETRY_AFTER, Health, HealthState

POLICY = EjectionPolicy(consecutive_failures=3, failure_rate=None, auth_failures=2, base_time=5.0, max_time=40.0)
BY_RATE = replace(POLICY, consecutive_failures=None, failure_rate=0.5, min_requests=10, window=30.0)
CHECK = HealthCheck(unhealthy_after=3, healthy_after=2)


def failed(health: Health, times: int, now: float = 0.0) -> Health:
    for _ in range(times):
        health.failed(now)
    return health


def ejected(policy: EjectionPolicy = POLICY, now: float = 0.0) -> Health:
    """A provider that was ejected at ``now``, for the first time."""
    return failed(Health(policy), policy.consecutive_failures or 0, now)


def probe(health: Health, now: float) -> Health:
    assert health.try_probe(now)
    assert health.state is HealthState.PROBATION
    return health


# Ejection


def test_consecutive_failures_eject() -> None:
    """The number is exact, and a success between them restarts the count."""
    health = failed(Health(POLICY), 2)
    health.succeeded()
    failed(health, 2)
    assert (health.state, health.excluded_until, health.ejections) == (HealthState.HEALTHY, 0.0, 0)
    health.failed(1.0)
    assert (health.state, health.excluded_until, health.ejections) == (HealthState.EJECTED, 6.0, 1)


def test_a_stale_connection_counts_only_in_the_failure_rate() -> None:
    """It is neither a consecutive failure nor the result of a probe, because the repeated request has a result."""
    health = Health(POLICY)
    for _ in range(20):
        health.lost_connection(0.0)
    assert health.state is HealthState.HEALTHY
    rated = Health(BY_RATE)
    for _ in range(5):
        rated.lost_connection(0.0)
        rated.succeeded()
        assert rated.state is HealthState.HEALTHY
    rated.lost_connection(0.0)
    assert rated.state is HealthState.EJECTED
    tried = probe(ejected(), 5.0)
    tried.lost_connection(5.0)
    assert tried.state is HealthState.PROBATION


def test_a_cut_stream_revokes_its_success() -> None:
    """The cut is reported after the success of the head. Otherwise streams that are cut would never be consecutive
    failures."""
    health = Health(POLICY)
    for _ in range(3):
        health.succeeded()
        health.failed(0.0, late=True)
    assert health.state is HealthState.EJECTED
    others = Health(POLICY)
    for _ in range(9):
        others.succeeded()
        others.failed(0.0)
    assert others.state is HealthState.HEALTHY


def test_a_failure_rate_ejects() -> None:
    """Five of ten within the window eject, in any order; the rule needs ten exchanges."""
    health = Health(BY_RATE)
    for now in range(4):
        health.failed(float(now))
        health.succeeded()
    health.succeeded()
    health.failed(5.0)  # five of ten, counting this one
    assert health.state is HealthState.EJECTED
    assert failed(Health(BY_RATE), 9).state is HealthState.HEALTHY
    assert failed(Health(BY_RATE), 10).state is HealthState.EJECTED


def test_a_low_failure_rate_does_not_eject() -> None:
    """Four of ten fail repeatedly."""
    health = Health(BY_RATE)
    for _ in range(50):
        health.failed(0.0)
        health.succeeded()
        health.failed(0.0)
        for _ in range(2):
            health.succeeded()
    assert health.state is HealthState.HEALTHY


def test_failures_of_before_the_window_do_not_count() -> None:
    """There are nine failures in one window and nine in the next."""
    health = failed(Health(BY_RATE), 9)
    assert failed(health, 9, now=30.0).state is HealthState.HEALTHY
    health.failed(30.0)
    assert health.state is HealthState.EJECTED


def test_without_a_rule_there_is_no_ejection() -> None:
    """Each rule can be switched off. Without a policy no event ejects."""
    off = replace(POLICY, consecutive_failures=None, failure_rate=None, auth_failures=None)
    for health in (Health(off), Health(None)):
        failed(health, 100)
        for _ in range(100):
            health.unauthorised(0.0)
        assert health.state is HealthState.HEALTHY


# Growth


def test_each_failed_probe_doubles_the_ejection_up_to_a_bound() -> None:
    """The ejections last 5, 10, 20, 40 and 40 s."""
    health, now, times = ejected(), 0.0, []
    for _ in range(5):
        times.append(health.excluded_until - now)
        now = health.excluded_until
        probe(health, now).failed(now)
    assert times == [5.0, 10.0, 20.0, 40.0, 40.0]
    assert health.ejections == 6


@pytest.mark.parametrize(("well_for", "out_for"), [(39.0, 10.0), (40.0, 5.0)])
def test_the_growth_is_reset_after_a_healthy_period(well_for: float, out_for: float) -> None:
    """The period is the longest ejection."""
    health = ejected()
    probe(health, 5.0).succeeded()
    failed(health, 3, now=5.0 + well_for)
    assert health.excluded_until == 5.0 + well_for + out_for


# Probation


def test_after_the_ejection_one_exchange_probes() -> None:
    """Its result decides."""
    health = probe(ejected(), 5.0)
    assert not health.try_probe(5.0)
    assert health.excluded_until > 5.0
    health.succeeded()
    assert (health.state, health.excluded_until) == (HealthState.HEALTHY, 0.0)
    assert not health.try_probe(5.0)


def test_late_successes_do_not_end_an_ejection() -> None:
    """They are of exchanges that began before it."""
    health = ejected()
    health.succeeded()
    assert health.state is HealthState.EJECTED
    assert health.excluded_until == 5.0


def test_late_failures_do_not_extend_an_ejection() -> None:
    """Requests from before the ejection give no new information."""
    health = failed(ejected(), 20, now=4.0)
    assert health.excluded_until == 5.0
    assert health.ejections == 1


def test_a_probe_without_a_result_is_released_at_once() -> None:
    """The client disconnected, and the next exchange may probe at once."""
    health = probe(ejected(), 5.0)
    health.abandon_probe(6.0)
    assert health.excluded_until <= 6.0
    probe(health, 6.0).succeeded()
    health.abandon_probe(7.0)  # of one who was not told of the verdict
    assert health.state is HealthState.HEALTHY


def test_a_probe_that_never_reports_expires() -> None:
    """After max_time another exchange may probe."""
    health = probe(ejected(), 5.0)
    assert not health.try_probe(44.0)
    probe(health, 45.0).succeeded()
    assert health.state is HealthState.HEALTHY


def test_an_early_attempt_can_end_an_ejection_but_not_extend_it() -> None:
    """All providers are ejected, so it is tried early; a failure is no new information."""
    health = probe(ejected(), 1.0)
    health.failed(2.0)
    assert (health.state, health.excluded_until, health.ejections) == (HealthState.EJECTED, 5.0, 1)
    probe(health, 3.0).abandon_probe(3.5)
    assert health.excluded_until == 5.0
    probe(health, 4.0).succeeded()
    assert health.state is HealthState.HEALTHY


def test_after_probation_the_counts_restart() -> None:
    """Failures before its return do not count with those after it."""
    health = probe(ejected(), 5.0)
    health.rate_limited(5.0, 0.0)
    assert failed(health, 2, now=6.0).state is HealthState.HEALTHY
    health.failed(6.0)
    assert health.state is HealthState.EJECTED


def test_the_time_of_a_probe_is_not_a_healthy_period() -> None:
    """A long probe that fails does not reset the growth."""
    health = probe(ejected(), 5.0)
    health.failed(500.0)
    assert health.excluded_until == 510.0


# Refused credentials


def test_refusals_of_the_credential_have_a_rule_of_their_own() -> None:
    """Two in a row eject here. They do not count as failures, and failures do not count as refusals."""
    health = failed(Health(POLICY), 2)
    health.unauthorised(0.0)
    assert health.state is HealthState.HEALTHY
    health.succeeded()
    health.unauthorised(0.0)
    health.unauthorised(1.0)
    assert (health.state, health.excluded_until) == (HealthState.EJECTED, 6.0)


def test_a_refused_probe_extends_an_ejection_for_refusals() -> None:
    """After an ejection for failures, a refusal shows that the provider works."""
    refused = Health(POLICY)
    refused.unauthorised(0.0)
    refused.unauthorised(0.0)
    probe(refused, 5.0).unauthorised(5.0)
    assert (refused.state, refused.excluded_until) == (HealthState.EJECTED, 15.0)
    alive = probe(ejected(), 5.0)
    alive.unauthorised(5.0)
    assert alive.state is HealthState.HEALTHY


# Rest


def test_retry_after_is_honoured_exactly() -> None:
    """After it the provider gets requests without probation, because it did not fail."""
    health = Health(POLICY)
    health.rate_limited(1.0, 7.5)
    assert (health.state, health.excluded_until, health.retry_after_until, health.ejections) == (
        HealthState.RATE_LIMITED,
        8.5,
        8.5,
        0,
    )
    assert not health.try_probe(8.0)
    assert health.state is HealthState.RATE_LIMITED
    assert not health.try_probe(8.5)
    assert (health.state, health.excluded_until) == (HealthState.HEALTHY, 0.0)


def test_a_very_long_retry_after_is_bounded() -> None:
    """The proxy does not wait for a day."""
    health = Health(POLICY)
    health.rate_limited(0.0, 86400.0)
    assert health.excluded_until == LONGEST_RETRY_AFTER


def test_a_429_without_retry_after_has_a_growing_pause() -> None:
    """It grows from 1 to 2 and 4 s. The responses of concurrent exchanges count once."""
    health, now, times = Health(POLICY), 0.0, []
    for _ in range(3):
        for _ in range(5):
            health.rate_limited(now, None)
        times.append(health.excluded_until - now)
        now = health.excluded_until
        health.try_probe(now)
    health.succeeded()
    health.rate_limited(now, None)
    assert [*times, health.excluded_until - now] == [1.0, 2.0, 4.0, 1.0]
    assert health.retry_after_until == 0.0


def test_a_probe_with_429_ends_probation() -> None:
    """The provider works, and its Retry-After applies."""
    health = probe(ejected(), 5.0)
    health.rate_limited(6.0, 2.0)
    assert (health.state, health.excluded_until) == (HealthState.RATE_LIMITED, 8.0)
    none = probe(ejected(), 5.0)
    none.rate_limited(6.0, 0.0)
    assert none.state is HealthState.HEALTHY


def test_the_later_end_of_ejection_and_retry_after_counts() -> None:
    """Both may apply to a provider at one time."""
    health = Health(POLICY)
    health.rate_limited(0.0, 20.0)
    failed(health, 3)
    assert (health.state, health.excluded_until) == (HealthState.EJECTED, 20.0)
    other = ejected()
    other.rate_limited(0.0, 20.0)
    assert (other.state, other.excluded_until) == (HealthState.EJECTED, 20.0)


# Active checks


def test_health_checks_eject_and_restore() -> None:
    """Three failures or two successes in a row are needed. Exchanges do not count meanwhile."""
    health = Health(POLICY, CHECK)
    for ok in (False, False, True, False, False):
        health.checked(ok, 0.0)
    assert health.state is HealthState.HEALTHY
    health.checked(False, 0.0)
    assert (health.state, health.excluded_until, health.ejections) == (HealthState.UNHEALTHY, inf, 1)
    assert not health.try_probe(1e9)
    health.succeeded()
    failed(health, 9)
    health.rate_limited(0.0, 5.0)
    health.checked(True, 1.0)
    health.checked(False, 1.0)
    health.checked(True, 1.0)
    assert health.state is HealthState.UNHEALTHY
    health.checked(True, 2.0)
    assert (health.state, health.excluded_until) == (HealthState.HEALTHY, 0.0)


def test_good_checks_end_an_ejection_in_probation_only() -> None:
    """The models can be listed and yet not answer. Checks of before the ejection do not count."""
    health = Health(POLICY, CHECK)
    health.checked(True, 0.0)
    failed(health, 3)
    health.checked(True, 1.0)
    assert health.excluded_until == 5.0
    health.checked(True, 2.0)
    assert (health.state, health.excluded_until) == (HealthState.EJECTED, 2.0)
    probe(health, 2.0).failed(2.0)
    assert health.excluded_until == 12.0


def test_an_ejection_before_failed_checks_ends_with_probation() -> None:
    """The two causes are independent."""
    health = failed(Health(POLICY, CHECK), 3)
    for ok in (False, False, False, True, True):
        health.checked(ok, 1.0)
    assert health.state is HealthState.EJECTED
    probe(health, 1.0)


def test_a_provider_without_checks_any_more_gets_requests() -> None:
    """After a reload without the health check, no check could restore it."""
    health = Health(POLICY, CHECK)
    for _ in range(3):
        health.checked(False, 0.0)
    health.reconfigure(POLICY, None, 7.0)
    probe(health, 7.0).succeeded()
    assert health.state is HealthState.HEALTHY


# Whatever happens

EVENTS = st.sampled_from(["chosen", "succeeded", "failed", "late", "unauthorised", "rest", "guess", "abandoned"])
STEPS = st.lists(st.tuples(EVENTS, st.sampled_from([0.0, 0.1, 1.0, 5.0, 40.0, 100.0])), max_size=60)
POLICIES = st.sampled_from([POLICY, BY_RATE, replace(BY_RATE, min_requests=2), EjectionPolicy()]) | st.none()


def happen(health: Health, event: str, now: float) -> bool:
    """True if it was chosen as a probe."""
    if event == "chosen":
        return health.try_probe(now)
    if event == "succeeded":
        health.succeeded()
    elif event == "failed":
        health.failed(now)
    elif event == "late":
        health.failed(now, late=True)
    elif event == "unauthorised":
        health.unauthorised(now)
    elif event == "rest":
        health.rate_limited(now, 3.0)
    elif event == "guess":
        health.rate_limited(now, None)
    else:
        health.abandon_probe(now)
    return False


@given(POLICIES, STEPS)
def test_no_ejection_is_longer_than_the_maximum(policy: EjectionPolicy | None, steps: list[tuple[str, float]]) -> None:
    """It is measured from the last event. After it one successful exchange ends the ejection."""
    longest, now, health = max(policy.max_time if policy else 0.0, 30.0), 1.0, Health(policy)
    for event, passed in steps:
        now += passed
        happen(health, event, now)
        assert health.excluded_until <= now + longest
    later = now + longest
    assert health.excluded_until <= later
    health.try_probe(later)
    health.succeeded()
    assert (health.state, health.excluded_until) == (HealthState.HEALTHY, 0.0)


@given(POLICIES, STEPS)
def test_there_is_one_probe_at_a_time(policy: EjectionPolicy | None, steps: list[tuple[str, float]]) -> None:
    """A second probe needs the result, the release or the expiry of the first."""
    now, health, probing_since = 1.0, Health(policy), -inf
    for event, passed in steps:
        now += passed
        if happen(health, event, now):
            assert now >= probing_since + (policy.max_time if policy else 30.0)
            probing_since = now
        elif event != "chosen":
            probing_since = -inf


@given(STEPS)
def test_out_until_agrees_with_the_state(steps: list[tuple[str, float]]) -> None:
    """``out_until`` is 0.0 exactly while the state is IN."""
    now, health = 1.0, Health(POLICY)
    for event, passed in steps:
        now += passed
        happen(health, event, now)
        assert (health.excluded_until == 0.0) is (health.state is HealthState.HEALTHY)
