"""Warnings about failing providers: the first one at once, further ones summarised in one line per second."""

from __future__ import annotations

import logging
from typing import Final

from onwards_py.messages import OWN_FAULTS, Clock
from onwards_py.transports.base import TransportError

_log = logging.getLogger("onwards.proxy")
_QUIET: Final = 1.0  # seconds
_QUIET_OWN: Final = 10.0
_LACKING: Final = (
    "no connection to providers can be made, which is no failure of theirs: %s; look at the limits of this process and "
    "machine (ulimit -n, net.ipv4.ip_local_port_range)%s"
)


class FailureLog:
    """One per process. Its memory is bounded, because names come from the configuration."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[tuple[str, str], float] = {}
        self._swallowed: dict[tuple[str, str], int] = {}

    def record_failure(self, target: str, provider: str, error: TransportError) -> None:
        """Log a failed attempt."""
        own = error.fault in OWN_FAULTS
        key, now = ("", error.fault.value) if own else (target, provider), self._clock()
        last = self._last.get(key)
        if last is not None and now < last + (_QUIET_OWN if own else _QUIET):
            self._swallowed[key] = self._swallowed.get(key, 0) + 1
            return
        self._last[key] = now
        count = self._swallowed.pop(key, 0)
        more = f" ({count} more failures since the last such line)" if count else ""
        if own:
            _log.error(_LACKING, error, more)
        else:
            _log.warning("provider %s of %s failed: %s%s", provider, target, error, more)
