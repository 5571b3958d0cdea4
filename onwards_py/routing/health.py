"""Health of one provider: ejection, probation, and the rest that it asks for. Pure: ``now`` is an argument.

::

    IN --failures--> EJECTED --time over, next exchange--> PROBATION --any answer--> IN
     |                  ^                                      |
     +--429--> RESTING  +---------------failure----------------+      checks: any --> DOWN --> IN, or EJECTED and due

Nothing happens by itself: `Health.out_until` is compared with the time by whoever chooses, and everything else happens
in the calls below. There is no way to stay out for ever but checks that go on failing.
"""

from __future__ import annotations

from enum import Enum
from math import inf

from onwards_py.model.policies import EjectionPolicy
from onwards_py.model.provider import HealthCheck

LONGEST_REST = 300.0
"""Seconds: a longer Retry-After is believed to this point only, and then asked about again."""
_FIRST_REST = 1.0
_LONGEST_GUESS = 10.0
_NO_CHECK = HealthCheck()


class HealthState(Enum):
    """Where a provider stands."""

    HEALTHY = "healthy"
    RATE_LIMITED = "rate_limited"  # it asked to be left alone, or answered 429
    EJECTED = "ejected"  # out until its time is over, then due for a probe
    PROBATION = "probation"  # one exchange tries whether it is well again
    UNHEALTHY = "unhealthy"  # active checks fail


class Health:
    """What is known of a provider. Times are seconds of a monotonic clock.

    ``policy`` None: nothing that exchanges report takes it out, except that it rests. ``check``: the thresholds of the
    active checks, if there are any. ``excluded_until``: 0.0 while it is in; else the time from which it may be chosen
    again (of a provider in probation: when another probe may go if nothing is heard of the first; inf: down).
    ``retry_after_until``: until when the provider itself asked to be left alone (Retry-After). ``successes``: so many
    so far. ``ejections``: how often it was taken out by failures or by checks.
    """

    __slots__ = (
        "_auth",
        "_back",
        "_check",
        "_checks_failed",
        "_checks_passed",
        "_due",
        "_failed",
        "_guess",
        "_level",
        "_policy",
        "_refused",
        "_refused_at",
        "_rested_at",
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
        # Successes are counted in one place; "in a row" and "in this window" are differences to what it was then.
        self._row = self._row_at = 0
        self._refused = self._refused_at = 0
        self._failed = self._window_at = 0
        self._window_end = -inf
        self._level = 0  # how often its time out was doubled
        self._back = -inf  # since when it has been in again
        self._due = 0.0  # when the probe that runs would have been due
        self._auth = False  # it was ejected for refusing our credential
        self._guess = _FIRST_REST
        self._rested_at = -1
        self._checks_failed = self._checks_passed = 0

    def reconfigure(self, policy: EjectionPolicy | None, check: HealthCheck | None, now: float) -> None:
        """Take over what a reload says. Who was down and is checked no longer is due for a probe."""
        if check is None and self.state is HealthState.UNHEALTHY:
            self._out(now, 0.0)
        self._policy = policy
        self._check = check

    # Being asked

    def try_probe(self, now: float) -> bool:
        """An exchange goes to this provider. True: as its probe, whose verdict is to be told or `abandon_probe`.

        Also of a provider whose time is not over (because all are out) the first is a probe; if it fails, nothing
        changes.
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
        """The probe ended without a verdict (the client left, a limit of ours refused it): the next one may try."""
        if self.state is HealthState.PROBATION:
            self.state = HealthState.EJECTED
            self.excluded_until = max(self._due, now)

    def may_have_recovered(self, now: float) -> bool:
        """True if it is out for failures and may be asked before its time, where nobody else is left to ask. Not if it
        asked to be left alone, or refused our credential: the answer is known."""
        out = self.state in (HealthState.EJECTED, HealthState.PROBATION, HealthState.UNHEALTHY)
        return out and self.retry_after_until <= now and not self._auth

    # Verdicts

    def succeeded(self) -> None:
        """It answered as it should, or refused what the client did wrong (4xx): in any case it is alive.

        Ends probation. While ejected it changes nothing: such news are from an exchange of before.
        """
        self.successes += 1
        if self.state is HealthState.PROBATION:
            self._in()

    def failed(self, now: float, *, late: bool = False) -> None:
        """No answer, an answer 5xx, or a body that broke off. ``late``: of this exchange `succeeded` was told already,
        since it began well; that is taken back."""
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
        """A kept connection died under a request, which went out once more: a failure in the window, but no verdict of
        a probe and nothing in a row, since servers close idle connections when they like."""
        policy = self._policy
        if (
            policy is not None
            and self.state in (HealthState.HEALTHY, HealthState.RATE_LIMITED)
            and self._rate_passed(policy, now)
        ):
            self._eject(policy, now, auth=False)

    def unauthorised(self, now: float) -> None:
        """It refused a credential that is ours (401, 402, 403): a rule of its own, and no failure of the provider."""
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
        """It wants to be left alone for ``seconds`` (429, or 503 with Retry-After), or did not say for how long: then
        for a second, and twice as long each time that no success came between."""
        if seconds is None:
            # Answers of exchanges that were sent together are one wish.
            seconds = (
                0.0 if self.excluded_until > now and self.state is HealthState.RATE_LIMITED else self._next_guess()
            )
        else:
            seconds = min(max(0.0, seconds), LONGEST_REST)
            self.retry_after_until = max(self.retry_after_until, now + seconds)
        if self.state is HealthState.PROBATION:
            self._in()
        if seconds > 0.0:
            self.excluded_until = max(self.excluded_until, now + seconds)
            if self.state is HealthState.HEALTHY:
                self.state = HealthState.RATE_LIMITED

    def checked(self, ok: bool, now: float) -> None:
        """An active check ended. Enough failures in a row take it out, and enough successes put it back: at once if
        checks had taken it out, and else to probation, since a check is no exchange."""
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

    # How it comes about

    def _rate_passed(self, policy: EjectionPolicy, now: float) -> bool:
        """Count a failure; True if there are too many in this window."""
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
            self._level = 0  # it has been well for a good while
        seconds = min(policy.base_time * 2.0**self._level, policy.max_time)
        self._level = min(self._level + 1, 60)
        self.ejections += 1
        self._auth = auth
        self._out(now, seconds)

    def _failed_probe(self, now: float, *, auth: bool) -> None:
        if now < self._due:
            # It was asked before its time, for want of others. That it fails is no news.
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

    def _next_guess(self) -> float:
        again = self._rested_at == self.successes
        self._guess = min(self._guess * 2.0, _LONGEST_GUESS) if again else _FIRST_REST
        self._rested_at = self.successes
        return self._guess

    def _lease(self) -> float:
        return self._policy.max_time if self._policy is not None else _LONGEST_GUESS
