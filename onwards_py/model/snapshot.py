"""The compiled immutable configuration. An exchange keeps the snapshot with which it began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from onwards_py.model.pool import KeyDefinition, Pool
from onwards_py.setting import Setting, ValueKind


@dataclass(frozen=True, slots=True)
class HttpPoolSettings:
    """The pool of keep-alive connections to providers."""

    max_idle_per_host: Annotated[int, Setting("Largest number of idle connections per host.", ge=0)] = 1024
    idle_timeout: Annotated[
        float, Setting("Time after which an idle connection is closed.", ValueKind.DURATION, key="idle_timeout_secs")
    ] = 90.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Address and limits of the client listener; changes need a restart.

    Sizes are in bytes, times in seconds. ``host`` None: the address depends on keys (`config.listen_address`).
    """

    host: Annotated[
        str | None,
        Setting(
            "Address to listen on.",
            ValueKind.LISTEN_HOST,
            default="127.0.0.1 if no target requires a key, else 0.0.0.0",
        ),
    ] = None
    max_connections: Annotated[int, Setting("Largest number of client connections.", ge=1)] = 10_000
    max_head_bytes: Annotated[int, Setting("Largest request head.", ValueKind.SIZE)] = 64 * 1024
    max_header_count: Annotated[int, Setting("Largest number of header fields of a request.", ge=1)] = 128
    max_target_bytes: Annotated[int, Setting("Largest request target.", ValueKind.SIZE)] = 16 * 1024
    max_buffered: Annotated[int, Setting("Total size of all buffered request bodies.", ValueKind.SIZE)] = (
        1024 * 1024 * 1024
    )
    max_pipelined: Annotated[int, Setting("Largest number of waiting requests on one connection.", ge=1)] = 16
    header_timeout: Annotated[float, Setting("Time for a request head to arrive.", ValueKind.TIMEOUT)] = 30.0
    body_timeout: Annotated[float, Setting("Time for a request body to arrive.", ValueKind.TIMEOUT)] = 120.0
    send_timeout: Annotated[
        float,
        Setting("Time without progress after which a client that does not read is disconnected.", ValueKind.TIMEOUT),
    ] = 60.0
    keepalive_timeout: Annotated[
        float, Setting("Time after which an idle client connection is closed.", ValueKind.TIMEOUT)
    ] = 75.0
    drain_timeout: Annotated[float, Setting("Time for exchanges to finish at shutdown.", ValueKind.DURATION)] = 600.0


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """The admin port, which serves metrics and health checks."""

    host: Annotated[
        str | None,
        Setting("Address to listen on; changes need a restart.", ValueKind.LISTEN_HOST, default="127.0.0.1"),
    ] = None
    allowed_hosts: Annotated[
        tuple[str, ...],
        Setting(
            "Names allowed in Host besides localhost and IP addresses; *.example.com allows subdomains, * every name.",
            ValueKind.HOST_PATTERNS,
        ),
    ] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole compiled configuration.

    ``key_definitions`` is looked up by the SHA-256 digest of the token.
    """

    pools: Mapping[str, Pool]
    key_definitions: Mapping[bytes, KeyDefinition] = field(default_factory=dict, repr=False)
    server: ServerSettings = ServerSettings()
    admin: AdminSettings = AdminSettings()
    http_pool: HttpPoolSettings = HttpPoolSettings()
    max_body: int = 64 * 1024 * 1024
    """The largest ``max_body`` of all pools: the limit of a door, which reads the body before the model is known."""
