"""``NO_PROXY``: which hosts are requested without the proxy, as curl reads it (CURLOPT_NOPROXY, lib/noproxy.c).

The list contains names, IP addresses and networks in CIDR notation. A name, with or without a leading dot, matches
itself and all its subdomains. An address or network matches only hosts that are written as addresses: names are not
resolved. A list of only ``*`` matches every host. As in other clients, but not in curl, an entry may end in a port, an
IPv6 address may be in brackets, and blanks may separate entries.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address


def is_excepted(host: str, port: int, exceptions: str) -> bool:
    """Whether ``host`` (lower case, an IPv6 address without brackets) is requested without the proxy."""
    if exceptions.strip() == "*":
        return True
    name = host.rstrip(".")
    address = _address(name)
    for written in exceptions.replace(",", " ").lower().split():
        entry = _without_port(written, port)
        if _is_in(address, entry) if address is not None else _is_below(name, entry.strip(".")):
            return True
    return False


def _without_port(entry: str, port: int) -> str:
    """The host or network of an entry; empty if the entry is for another port."""
    if entry.startswith("["):
        inside, _, rest = entry[1:].partition("]")
        return inside + rest if not rest.startswith(":") else inside if rest == f":{port}" else ""
    return entry.removesuffix(f":{port}") if entry.count(":") == 1 else entry


def _is_below(name: str, domain: str) -> bool:
    return bool(domain) and (name == domain or name.endswith("." + domain))


def _is_in(address: IPv4Address | IPv6Address, network: str) -> bool:
    base, slash, bits = network.partition("/")
    start = _address(base)
    if start is None or start.version != address.version or (slash and not (bits.isascii() and bits.isdigit())):
        return False
    # curl treats /0 as the address itself, not as a network; * matches all hosts.
    length = int(bits) if slash and int(bits) else address.max_prefixlen
    shift = address.max_prefixlen - length
    return shift >= 0 and int(address) >> shift == int(start) >> shift


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
