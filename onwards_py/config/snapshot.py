"""The compiled immutable configuration. An exchange keeps the snapshot it began with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onwards_py.model.pool import KeyDefinition, Pool


@dataclass(frozen=True, slots=True)
class HttpPoolSettings:
    """Upstream keep-alive: idle connections kept per origin, and for how many seconds."""

    max_idle_per_host: int = 1024
    idle_timeout: float = 90.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The listener's address (None: it depends on keys) and bounds: bytes, counts and seconds.

    ``max_buffered`` bounds the request bodies held at one time by all connections together.
    """

    host: str | None = None
    max_connections: int = 10_000
    max_head_bytes: int = 64 * 1024
    max_header_count: int = 128
    max_target_bytes: int = 16 * 1024
    max_buffered: int = 1024 * 1024 * 1024
    max_pipelined: int = 16
    header_timeout: float = 30.0
    body_timeout: float = 120.0
    send_timeout: float = 60.0
    keepalive_timeout: float = 75.0
    drain_timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """The admin port's address (None: this machine), and the names that it may be asked for by, in lower case."""

    host: str | None = None
    allowed_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a request may ask of the configuration.

    ``key_definitions`` is looked up by the SHA-256 digest of the token.
    """

    pools: Mapping[str, Pool]
    key_definitions: Mapping[bytes, KeyDefinition] = field(default_factory=dict, repr=False)
    server: ServerSettings = ServerSettings()
    admin: AdminSettings = AdminSettings()
    http_pool: HttpPoolSettings = HttpPoolSettings()
    max_body: int = 64 * 1024 * 1024
    """The largest ``max_body`` of all pools: what a door may read before it knows the model."""
