"""Options of the command `serve`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where to listen and how. Values that are None or empty here may be set in the file at ``config``.

    ``lane`` False serves everything through aiohttp. ``tls_cert`` and ``tls_key`` are PEM files, given together.
    ``log_level`` is one of debug, info, warning, error. ``watch``: follow changes of the configuration's files.
    """

    config: Path
    host: str | None = None
    port: int = 3000
    admin_host: str | None = None
    admin_port: int = 9090
    lane: bool = True
    log_level: str = "info"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    watch: bool = True
    admin_allowed_hosts: tuple[str, ...] = ()
