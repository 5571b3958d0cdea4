"""Warnings about failing providers: the first at once, a storm of them as one line a second."""

from __future__ import annotations

import logging
from typing import Final

from onwards_py.messages import OWN_FAULTS, Clock
from onwards_py.transports.base import TransportError

_log = logging.getLogger("onwards.proxy")
_QUIET: Final = 1.0  # seconds
_QUIET_OURS: Final = 10.0
_LACKING: Final = (
    "no connection to providers can be made, which is no failure of theirs: %s; look at the limits of this process and "
    "machine (ulimit -n, net.ipv4.ip_local_port_range)%s"
)


class FailureLog:
    """One of the process. Names are those of the configuration, so what is remembered is bounded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[tuple[str, str], float] = {}
        self._swallowed: dict[tuple[str, str], int] = {}

    def record_failure(self, target: str, provider: str, error: TransportError) -> None:
        """An attempt failed."""
        ours = error.fault in OWN_FAULTS
        key, now = ("", error.fault.value) if ours else (target, provider), self._clock()
        last = self._last.get(key)
        if last is not None and now < last + (_QUIET_OURS if ours else _QUIET):
            self._swallowed[key] = self._swallowed.get(key, 0) + 1
            return
        self._last[key] = now
        count = self._swallowed.pop(key, 0)
        more = f" ({count} more failures since the last such line)" if count else ""
        if ours:
            _log.error(_LACKING, error, more)
        else:
            _log.warning("provider %s of %s failed: %s%s", provider, target, error, more)
