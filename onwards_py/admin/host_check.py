"""Which names in Host the admin port accepts.

A web page in a browser on this machine can change the address of its own name to 127.0.0.1 after loading (DNS
rebinding), and could then read the admin pages; only the name in Host distinguishes such a request. An IP address in
Host involves no DNS, so it cannot be rebound.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from onwards_py.config.listen_address import is_loopback


def is_allowed(host: str, names: Sequence[str], listening_on: str) -> bool:
    """Whether a listener on ``listening_on`` accepts ``host`` (the value of Host, with or without a port).

    ``names``: allowed names in lower case; ``*.example.com`` allows all subdomains, ``*`` any name.
    """
    name = _without_port(host).lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 section 6.3: never resolved by DNS
        return True
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return any(_matches(name, pattern) for pattern in names)
    return address.is_loopback or not is_loopback(listening_on) or name in names


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _matches(name: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return name.endswith(pattern[1:])
    return pattern in ("*", name)
