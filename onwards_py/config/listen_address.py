"""Where the two ports listen unless somebody says so, and what is worth a warning about it.

Without keys the proxy spends its operator's credentials for whoever reaches it, so it is reachable from this machine
only.
"""

from __future__ import annotations

from ipaddress import ip_address

from onwards_py.config.options import ServeOptions
from onwards_py.model.snapshot import Snapshot

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"


def requires_key(snapshot: Snapshot) -> bool:
    """False if every target is open to everybody."""
    return any(pool.keys is not None for pool in snapshot.pools.values())


def client_host(chosen: str | None, snapshot: Snapshot) -> str:
    """The address that clients are listened for on; ``chosen`` is what the command line or the environment says."""
    return chosen or snapshot.server.host or (EVERYWHERE if requires_key(snapshot) else LOOPBACK)


def admin_host(chosen: str | None, snapshot: Snapshot) -> str:
    """The address of the admin port, likewise."""
    return chosen or snapshot.admin.host or LOOPBACK


def addresses(options: ServeOptions, snapshot: Snapshot) -> dict[str, str]:
    """The addresses of ``client port`` and ``admin port``."""
    return {
        "client port": client_host(options.host, snapshot),
        "admin port": admin_host(options.admin_host, snapshot),
    }


def bracket_ipv6(host: str) -> str:
    """``host`` as it stands before a port (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def allowed_hosts(options: ServeOptions, snapshot: Snapshot) -> tuple[str, ...]:
    """Names by which the admin port may be asked for, besides localhost and IP addresses."""
    return (*options.admin_allowed_hosts, *snapshot.admin.allowed_hosts)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on ``host``."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def exposure_warnings(host: str, admin: str, snapshot: Snapshot) -> list[str]:
    """Warnings about what others can reach."""
    warnings = []
    if not is_loopback(host) and not requires_key(snapshot):
        warnings.append(
            f"no target asks for a key, and the client port listens on {host}: everybody who reaches it uses the "
            "providers at your expense; set keys (auth.global_keys), or listen on 127.0.0.1"
        )
    if not is_loopback(admin):
        warnings.append(
            f"the admin port listens on {admin} and has no authentication: keep it from everybody who must not read "
            "metrics and the names of targets"
        )
    return warnings


def restart_warnings(now: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """Warnings about addresses (see `addresses`) that would be others after a restart."""
    return [
        f"the {port} listens on {now[port]} until a restart, and then on {host}"
        for port, host in wanted.items()
        if host != now[port]
    ]


def summary(host: str, admin: str, snapshot: Snapshot) -> str:
    """One sentence for `check`."""
    why = "" if requires_key(snapshot) else ", as no target asks for a key" if is_loopback(host) else ""
    return (
        f"serve listens on {host} for clients{why} (--host, server.host), and on {admin} for metrics and health "
        "(--admin-host, admin.host)"
    )
