"""``/status``: the active configuration, and the state of its targets and providers, without secrets."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from onwards_py import __version__
from onwards_py.config.reload import ReloadError, ReloadStatus
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.table import LivePool


class ReloadErrorStatus(msgspec.Struct, frozen=True):
    """The error because of which the current content of the files is not active."""

    at: str
    problems: tuple[str, ...]


class ConfigStatus(msgspec.Struct, frozen=True):
    """The active configuration. ``sha256``: the digest of the main file; ``warnings``: their number; times are RFC
    3339."""

    path: str
    sha256: str
    generation: int
    applied_at: str
    warnings: int
    last_error: ReloadErrorStatus | None


class ProviderStatus(msgspec.Struct, frozen=True):
    """``host``: the authority of its URL, empty for a local provider. ``health``: None if it is never ejected."""

    name: str
    host: str
    weight: int
    in_flight: int
    health: str | None


class TargetStatus(msgspec.Struct, frozen=True):
    name: str
    strategy: str
    in_flight: int
    providers: list[ProviderStatus]


class Status(msgspec.Struct, frozen=True):
    """The page ``/status``."""

    version: str
    uptime_seconds: float
    config: ConfigStatus
    targets: list[TargetStatus]


def status_of(reload_status: ReloadStatus, targets: Iterable[LivePool], uptime: float) -> Status:
    """The status after ``uptime`` seconds."""
    config = ConfigStatus(
        path=str(reload_status.path.absolute()),
        sha256=reload_status.sha256,
        generation=reload_status.generation,
        applied_at=_time(reload_status.applied_at),
        warnings=reload_status.warnings,
        last_error=_error(reload_status.last_error),
    )
    return Status(__version__, round(uptime, 3), config, [_target(target) for target in targets])


def _error(error: ReloadError | None) -> ReloadErrorStatus | None:
    return None if error is None else ReloadErrorStatus(_time(error.at), error.problems)


def _target(target: LivePool) -> TargetStatus:
    pool = target.pool
    strategy = "route_by" if pool.route_by is not None else pool.strategy.value
    return TargetStatus(
        pool.name, strategy, target.limiter.in_flight, [_provider(endpoint) for endpoint in target.endpoints]
    )


def _provider(endpoint: Endpoint) -> ProviderStatus:
    provider, health = endpoint.provider, endpoint.health
    state = None if health is None else health.state.value
    return ProviderStatus(provider.name, provider.host.decode(), provider.weight, endpoint.limiter.in_flight, state)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
