"""Health of one provider: ejection, probation, and the pause after Retry-After. Pure: ``now`` is an argument.

::

    HEALTHY --failures--> EJECTED --time over, next exchange--> PROBATION --any response--> HEALTHY
     |                       ^                                      |
     +--429--> RATE_LIMITED  +---------------failure----------------+

checks: any --> UNHEALTHY --> HEALTHY, or EJECTED and due

There are no timers: the balancer compares `Health.excluded_until` with the time, and all transitions happen in the
methods below. A provider is never excluded for ever, except while its health checks fail.
"""

from __future__ import annotations

from enum import Enum
from math import inf

from onwards_py.model.policies import EjectionPolicy
from onwards_py.model.provider import HealthCheck

LONGEST_RETRY_AFTER = 300.0
"""Seconds: the longest Retry-After that is honoured; after that the provider is tried again."""
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 10.0
_NO_CHECK = HealthCheck()


class HealthState(Enum):
    """A provider's state; the values are those of ``/status`` and metrics."""

    HEALTHY = "healthy"
    RATE_LIMITED = "rate_limited"  # it sent 429 or Retry-After
    EJECTED = "ejected"  # excluded for a time, then due for a probe
    PROBATION = "probation"  # one exchange probes it
    UNHEALTHY = "unhealthy"  # health checks fail


class Health:
    """The health of a provider. Times are seconds of a monotonic clock.

    ``policy`` None: results of exchanges do not eject the provider. ``check``: the thresholds of health checks, if
    there are any. ``excluded_until``: 0.0 while healthy, else the time from which the provider may be chosen again (in
    probation: when another probe may be sent if the first gives no result; inf: unhealthy). ``retry_after_until``: the
    end of the provider's own Retry-After. ``successes`` and ``ejections`` are counters.
    """

    __slots__ = (
        "_auth",
        "_back",
        "_check",
        "_checks_failed",
        "_checks_passed",
        "_due",
        "_failed",
        "_level",
        "_pause",
        "_paused_at",
        "_policy",
        "_refused",
        "_refused_at",
        "_row",
        "_row_at",
        "_window_at",
        "_window_end",
        "ejections",
        "excluded_until",
        "retry_after_until",
        "state",
        "successes",
    )

    def __init__(self, policy: EjectionPolicy | None, check: HealthCheck | None = None) -> None:
        self._policy = policy
        self._check = check
        self.state = HealthState.HEALTHY
        self.excluded_until = 0.0
        self.retry_after_until = 0.0
        self.successes = 0
        self.ejections = 0
        # One counter of successes serves both rules: "in a row" and "in this window" are differences to older counts.
        self._row = self._row_at = 0
        self._refused = self._refused_at = 0
        self._failed = self._window_at = 0
        self._window_end = -inf
        self._level = 0  # how often the ejection time was doubled
        self._back = -inf  # since when it is healthy again
        self._due = 0.0  # when the current probe was due
        self._auth = False  # ejected because it rejects the credential
        self._pause = _FIRST_PAUSE
        self._paused_at = -1
        self._checks_failed = self._checks_passed = 0

    def reconfigure(self, policy: EjectionPolicy | None, check: HealthCheck | None, now: float) -> None:
        """Apply the policies of a reload. An unhealthy provider without health checks becomes ejected, due for a
        probe."""
        if check is None and self.state is HealthState.UNHEALTHY:
            self._out(now, 0.0)
        self._policy = policy
        self._check = check

    # Choosing

    def try_probe(self, now: float) -> bool:
        """Record that an exchange goes to this provider. True: as its probe, which needs a result or
        `abandon_probe`.

        If all providers are excluded, the first exchange is a probe before the time is over; its failure changes
        nothing.
        """
        if self.state is HealthState.RATE_LIMITED and now >= self.excluded_until:
            self.state = HealthState.HEALTHY
            self.excluded_until = 0.0
        if self.state is HealthState.EJECTED or (self.state is HealthState.PROBATION and now >= self.excluded_until):
            self._due = self.excluded_until
            self.state = HealthState.PROBATION
            self._back = now
            self.excluded_until = now + self._lease()
            return True
        return False

    def abandon_probe(self, now: float) -> None:
        """The probe ended without a result (the client left, the proxy's own limit rejected it): another one may be
        sent."""
        if self.state is HealthState.PROBATION:
            self.state = HealthState.EJECTED
            self.excluded_until = max(self._due, now)

    def may_have_recovered(self, now: float) -> bool:
        """True if it is excluded for failures and may be tried early, when no other endpoint is left. False during
        its own Retry-After, and after it refused the credential: the result is known."""
        out = self.state in (HealthState.EJECTED, HealthState.PROBATION, HealthState.UNHEALTHY)
        return out and self.retry_after_until <= now and not self._auth

    # Results

    def succeeded(self) -> None:
        """A success, or a 4xx that is the client's fault: in either case the provider works.

        Ends probation. Ignored while ejected: such a result belongs to an earlier exchange.
        """
        self.successes += 1
        if self.state is HealthState.PROBATION:
            self._in()

    def failed(self, now: float, *, late: bool = False) -> None:
        """No response, a 5xx, or a truncated body. ``late``: `succeeded` was recorded for this exchange when its
        response began, and is reverted."""
        if late:
            self.successes -= 1
        if self.state is HealthState.PROBATION:
            self._failed_probe(now, auth=False)
            return
        policy = self._policy
        if policy is None or self.state is HealthState.EJECTED or self.state is HealthState.UNHEALTHY:
            return
        self._row = self._row + 1 if self._row_at == self.successes else 1
        self._row_at = self.successes
        in_row = policy.consecutive_failures is not None and self._row >= policy.consecutive_failures
        if self._rate_passed(policy, now) or in_row:
            self._eject(policy, now, auth=False)

    def lost_connection(self, now: float) -> None:
        """A reused connection failed and the request was repeated: a failure in the window, but not the result of a
        probe and not one in a row, since servers may close idle connections at any time."""
        policy = self._policy
        if (
            policy is not None
            and self.state in (HealthState.HEALTHY, HealthState.RATE_LIMITED)
            and self._rate_passed(policy, now)
        ):
            self._eject(policy, now, auth=False)

    def unauthorised(self, now: float) -> None:
        """It refused the configured credential (401, 402, 403): counted by a rule of its own, not as a failure."""
        if self.state is HealthState.PROBATION:
            if self._auth:
                self._failed_probe(now, auth=True)
                return
            self._in()
        policy = self._policy
        if policy is None or policy.auth_failures is None or self.state in (HealthState.EJECTED, HealthState.UNHEALTHY):
            return
        self._refused = self._refused + 1 if self._refused_at == self.successes else 1
        self._refused_at = self.successes
        if self._refused >= policy.auth_failures:
            self._eject(policy, now, auth=True)

    def rate_limited(self, now: float, seconds: float | None) -> None:
        """A 429, or a 503 with Retry-After: pause for ``seconds``. None: for one second, doubled each time without a
        success in between."""
        if seconds is None:
            # Responses to concurrent exchanges count once.
            seconds = (
                0.0 if self.excluded_until > now and self.state is HealthState.RATE_LIMITED else self._next_pause()
            )
        else:
            seconds = min(max(0.0, seconds), LONGEST_RETRY_AFTER)
            self.retry_after_until = max(self.retry_after_until, now + seconds)
        if self.state is HealthState.PROBATION:
            self._in()
        if seconds > 0.0:
            self.excluded_until = max(self.excluded_until, now + seconds)
            if self.state is HealthState.HEALTHY:
                self.state = HealthState.RATE_LIMITED

    def checked(self, ok: bool, now: float) -> None:
        """The result of a health check. Enough failures in a row make the provider unhealthy, and enough successes
        restore it: at once if it was unhealthy, else to probation, since a check is not an exchange."""
        check = self._check or _NO_CHECK
        if ok:
            self._checks_failed = 0
            self._checks_passed += 1
            if self._checks_passed >= check.healthy_after:
                self._passed(now)
            return
        self._checks_passed = 0
        self._checks_failed += 1
        if self._checks_failed >= check.unhealthy_after and self.state is not HealthState.UNHEALTHY:
            self._due = now if self.state in (HealthState.EJECTED, HealthState.PROBATION) else 0.0
            self.state = HealthState.UNHEALTHY
            self.excluded_until = inf
            self.ejections += 1

    # Transitions

    def _rate_passed(self, policy: EjectionPolicy, now: float) -> bool:
        """Count a failure; True if the failure rate of this window is reached."""
        if now >= self._window_end:
            self._window_end = now + policy.window
            self._window_at = self.successes
            self._failed = 0
        self._failed += 1
        if policy.failure_rate is None:
            return False
        ended = self._failed + max(0, self.successes - self._window_at)
        return ended >= policy.min_requests and self._failed >= policy.failure_rate * ended

    def _eject(self, policy: EjectionPolicy, now: float, *, auth: bool) -> None:
        if now - self._back >= policy.max_time:
            self._level = 0  # it was healthy for long enough
        seconds = min(policy.base_time * 2.0**self._level, policy.max_time)
        self._level = min(self._level + 1, 60)
        self.ejections += 1
        self._auth = auth
        self._out(now, seconds)

    def _failed_probe(self, now: float, *, auth: bool) -> None:
        if now < self._due:
            # It was tried early because no other endpoint was left: its failure does not change its state.
            self.state = HealthState.EJECTED
            self.excluded_until = self._due
        elif self._policy is None:
            self._in()
        else:
            self._back = now
            self._eject(self._policy, now, auth=auth)

    def _out(self, now: float, seconds: float) -> None:
        self.state = HealthState.EJECTED
        self.excluded_until = max(now + seconds, self.retry_after_until)
        self._checks_passed = 0

    def _in(self) -> None:
        self.state = HealthState.HEALTHY
        self.excluded_until = 0.0
        self._row = self._refused = 0
        self._window_end = -inf

    def _passed(self, now: float) -> None:
        if self.state is HealthState.UNHEALTHY:
            if self._due:
                self._out(now, 0.0)
            else:
                self._back = now
                self._in()
        elif self.state is HealthState.EJECTED:
            self.excluded_until = min(self.excluded_until, max(now, self.retry_after_until))

    def _next_pause(self) -> float:
        again = self._paused_at == self.successes
        self._pause = min(self._pause * 2.0, _LONGEST_PAUSE) if again else _FIRST_PAUSE
        self._paused_at = self.successes
        return self._pause

    def _lease(self) -> float:
        return self._policy.max_time if self._policy is not None else _LONGEST_PAUSE
