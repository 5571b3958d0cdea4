"""By which names the admin port may be asked for.

A page in a browser on this machine can have its own name resolve to 127.0.0.1 after it was loaded (DNS rebinding), and
then read what it likes from here; all that tells such a request apart is the name in Host. An IP address in Host was
looked up by nobody, so nothing can have been rebound.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from onwards_py.config.listen_address import is_loopback


def is_allowed(host: str, names: Sequence[str], listening_on: str) -> bool:
    """Whether a request for ``host`` (the value of Host, with or without a port) is meant for a listener on
    ``listening_on``. ``names``: allowed ones in lower case; ``*.example.com`` is all below it, ``*`` is any."""
    name = _without_port(host).lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 section 6.3: never looked up elsewhere
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
