"""The addresses that the two ports listen on, and warnings about them.

Without keys, anyone who can reach the proxy can use the operator's credentials; so by default it is then reachable from
this machine only.
"""

from __future__ import annotations

from ipaddress import ip_address

from onwards_py.config.serve_options import ServeOptions
from onwards_py.model.snapshot import Snapshot

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"


def requires_key(snapshot: Snapshot) -> bool:
    """Whether some target requires a key."""
    return any(pool.keys is not None for pool in snapshot.pools.values())


def client_host(chosen: str | None, snapshot: Snapshot) -> str:
    """The address of the client port. ``chosen``: by the command line or the environment; None: not chosen."""
    return chosen or snapshot.server.host or (EVERYWHERE if requires_key(snapshot) else LOOPBACK)


def admin_host(chosen: str | None, snapshot: Snapshot) -> str:
    """The address of the admin port; ``chosen`` as for `client_host`."""
    return chosen or snapshot.admin.host or LOOPBACK


def addresses(options: ServeOptions, snapshot: Snapshot) -> dict[str, str]:
    """The addresses of ``client port`` and ``admin port``."""
    return {
        "client port": client_host(options.host, snapshot),
        "admin port": admin_host(options.admin_host, snapshot),
    }


def bracket_ipv6(host: str) -> str:
    """``host`` as it is written before a port, IPv6 addresses in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def allowed_hosts(options: ServeOptions, snapshot: Snapshot) -> tuple[str, ...]:
    """Names that the admin port accepts in Host, besides localhost and IP addresses."""
    return (*options.admin_allowed_hosts, *snapshot.admin.allowed_hosts)


def is_loopback(host: str) -> bool:
    """Whether a listener on ``host`` is reachable from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def exposure_warnings(host: str, admin: str, snapshot: Snapshot) -> list[str]:
    """Warnings about listeners that other machines can reach."""
    warnings = []
    if not is_loopback(host) and not requires_key(snapshot):
        warnings.append(
            f"no target requires a key, and the client port listens on {host}: anyone who can reach it can use the "
            "providers at your expense; set keys (auth.global_keys), or listen on 127.0.0.1"
        )
    if not is_loopback(admin):
        warnings.append(
            f"the admin port listens on {admin} and has no authentication: restrict access to it, because it shows "
            "metrics and the names of targets"
        )
    return warnings


def restart_warnings(now: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """Warnings about addresses (see `addresses`) that a restart would change."""
    return [
        f"the {port} listens on {now[port]} until a restart, and then on {host}"
        for port, host in wanted.items()
        if host != now[port]
    ]


def summary(host: str, admin: str, snapshot: Snapshot) -> str:
    """One sentence for the command `check`."""
    why = "" if requires_key(snapshot) else ", because no target requires a key" if is_loopback(host) else ""
    return (
        f"serve listens on {host} for clients{why} (--host, server.host), and on {admin} for metrics and health "
        "(--admin-host, admin.host)"
    )
