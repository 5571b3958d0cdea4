"""File descriptors: how many this process may have open, and how they are divided.

A streamed exchange needs two of them, the client's connection and the provider's.
A proxy that accepts clients until accept(2) fails (EMFILE) has no descriptor left to connect to providers, and can
answer no client.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from dataclasses import dataclass

# For the admin port, rejected clients that are still open, name resolution, files and pipes.
_RESERVE = 96
_MIN_SHARE = 4
_inherited: list[int] = []


@dataclass(frozen=True, slots=True)
class DescriptorBudget:
    """How the descriptors of this process are divided."""

    limit: int
    """Descriptors in all."""
    clients: int
    """Client connections at the same time."""
    providers: int
    """Connections to providers at the same time."""
    served_below: int
    """Connections to clients and providers use descriptors below this number.

    The kernel assigns the lowest free number, so a connection with a higher number means that the reserve is in use.
    """
    refused_below: int
    """Refused clients may stay open for a moment if their descriptor is below this number."""
    admin: int
    """Connections to the admin port, out of the reserve."""


def raise_limit() -> tuple[int, int]:
    """Raise the soft limit to the hard one. Returns the soft limit before and after.

    The soft limit of 1,024 exists for programs that use select(2), which this program does not use.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft, soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # a hard limit above what the kernel allows one process (fs.nr_open)
        return soft, soft
    _inherited.append(soft)
    return soft, hard


def restore_limit(pid: int) -> None:
    """Give a child process the soft limit that this process was started with: the child may use select(2)."""
    if _inherited and hasattr(resource, "prlimit"):
        with suppress(OSError, ValueError):
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (_inherited[0], hard))


def limit() -> int:
    """The current soft limit."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def in_use() -> int:
    """Descriptors that are open."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # the listing itself has opened one
    except OSError:
        return 16


def divide(limit: int, in_use: int, max_connections: int) -> DescriptorBudget:
    """Divide ``limit`` descriptors, ``in_use`` of which are open, so that every client can have a provider."""
    if limit == resource.RLIM_INFINITY:
        limit = 2**31
    spare = max(limit - in_use, 0)
    reserve = min(_RESERVE, spare // 2)
    half = max((spare - reserve) // 2, _MIN_SHARE)
    return DescriptorBudget(
        limit=limit,
        clients=min(max_connections, half),
        providers=half,
        served_below=limit - reserve,
        refused_below=limit - reserve * 2 // 3,
        admin=max(reserve // 3, _MIN_SHARE),
    )
