"""Active health checks: requests to providers at an interval, independent of traffic."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from onwards_py.eager import StepTask
from onwards_py.messages import OWN_FAULTS, Clock, Random
from onwards_py.model.provider import HealthCheck, Provider, Timeouts
from onwards_py.observe.not_found_log import NotFoundLog
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.health import HealthState
from onwards_py.routing.table import LivePool
from onwards_py.transports.base import OutboundRequest, Transport, TransportError
from onwards_py.transports.outbound_head import outbound_head
from onwards_py.wire.request_head import examine

_log = logging.getLogger("onwards.health")
_LONGEST_ANSWER: Final = 4 * 1024 * 1024

Key = tuple[str, HealthCheck]


class HealthChecks:
    """Checks every provider that has a health check and can be ejected. One check serves all pools of the provider.

    ``clock`` gives monotonic seconds, ``random`` numbers in [0, 1): checks are spread over their interval.
    """

    def __init__(self, http: Transport, clock: Clock, random: Random, not_found: NotFoundLog) -> None:
        self._http = http
        self._not_found = not_found
        self._clock = clock
        self._random = random
        self._running: dict[Key, _Checker] = {}

    def adopt(self, targets: Iterable[LivePool]) -> None:
        """Check the endpoints of these targets, and stop all other checks."""
        wanted: dict[Key, list[Endpoint]] = {}
        seen: set[int] = set()  # a provider that a pool lists twice has one health state
        for target in targets:
            for endpoint in target.endpoints:
                check, health = endpoint.provider.health_check, endpoint.health
                if check is not None and health is not None and id(health) not in seen:
                    seen.add(id(health))
                    wanted.setdefault((endpoint.provider.shared_identity, check), []).append(endpoint)
        for key in [key for key in self._running if key not in wanted]:
            self._running.pop(key).stop()
        for key, endpoints in wanted.items():
            running = self._running.get(key)
            if running is not None:
                running.endpoints = endpoints
            else:
                self._running[key] = _Checker(
                    self._http, key[1], endpoints, self._clock, self._random, not_found=self._not_found
                )

    def close(self) -> None:
        """Stop all checks."""
        self.adopt(())


class _Checker:
    """Checks one provider, for all of its pools."""

    def __init__(
        self,
        http: Transport,
        check: HealthCheck,
        endpoints: list[Endpoint],
        clock: Clock,
        random: Random,
        *,
        not_found: NotFoundLog,
    ) -> None:
        self.endpoints = endpoints
        self._http = http
        self._not_found = not_found
        self._check = check
        self._clock = clock
        self._random = random
        self._drive = StepTask(self._run(), _on_done)

    def stop(self) -> None:
        self._drive.cancel()

    async def _run(self) -> None:
        await asyncio.sleep(self._random() * min(self._check.interval, 1.0))
        while True:
            began = self._clock()
            ok = await self._check_once(self.endpoints[0].provider)
            now = self._clock()
            for endpoint in self.endpoints:
                if endpoint.health is None or ok is None:
                    continue
                before = endpoint.health.state
                endpoint.health.checked(ok, now)
                _log_change(endpoint, before, endpoint.health.state)
            await asyncio.sleep(max(0.0, began + self._check.interval - now))

    async def _check_once(self, provider: Provider) -> bool | None:
        """True for a complete 2xx response in time; None if the proxy lacked a descriptor, memory or a port."""
        seconds = self._check.timeout
        limited = replace(provider, timeouts=Timeouts(connect=seconds, first_byte=seconds, idle=seconds))
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            response = await self._http.send(limited, _request_of(provider, self._check, deadline))
        except TransportError as error:
            return None if error.fault in OWN_FAULTS else False
        if not 200 <= response.head.status < 300:
            self._not_found.note(provider, response.head.status, self._check.path)
            response.discard()
            return False
        return await response.read(_LONGEST_ANSWER) is not None


def _log_change(endpoint: Endpoint, before: HealthState, after: HealthState) -> None:
    if before is HealthState.UNHEALTHY and after is not HealthState.UNHEALTHY:
        _log.info("provider %s answers its health checks again", endpoint.provider.name)
    elif after is HealthState.UNHEALTHY and before is not HealthState.UNHEALTHY:
        _log.warning("provider %s fails its health checks: it is left out", endpoint.provider.name)


def _on_done(error: BaseException | None) -> None:
    if error is not None and not isinstance(error, asyncio.CancelledError):
        _log.error("health checks have ended", exc_info=error)


def _request_of(provider: Provider, check: HealthCheck, deadline: float) -> OutboundRequest:
    head = examine([(b"Host", b"health-check"), (b"Accept", b"application/json")], check.path, 1)
    raw = outbound_head(head, b"GET", provider.join(check.path), provider, 0, decoded=False)
    return OutboundRequest(b"GET", check.path, raw, b"", "", True, deadline)
