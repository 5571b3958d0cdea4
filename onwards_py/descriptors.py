"""File descriptors: how many this process may have open, and how they are shared out.

A streamed exchange needs two of them, the client's connection and the provider's. A proxy that accepts clients until
accept(2) fails (EMFILE) has none left for connections to providers, and can answer no client.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from dataclasses import dataclass

# The admin port's connections, refused clients on their way out, names being looked up, files being read, pipes.
_RESERVE = 96
_LEAST = 4
_inherited: list[int] = []


@dataclass(frozen=True, slots=True)
class DescriptorBudget:
    """``limit`` descriptors in all: so many connections of ``clients``, and so many to ``providers``. Descriptors from
    ``ceiling`` on are for neither: the kernel gives the lowest number that is free, so a connection with a number
    from there says that the rest is needed for other things. Below ``brim``, refused clients may take their time.
    ``admin``: connections to the admin port, out of the reserve."""

    limit: int
    clients: int
    providers: int
    ceiling: int
    brim: int
    admin: int


def raise_limit() -> tuple[int, int]:
    """Raise the soft limit to the hard one; returns the soft limit before and now.

    The soft limit of 1,024 is there for programs that use select(2), which this one does not.
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
    """Give a child the soft limit that this process was started with; what it runs may well use select(2)."""
    if _inherited and hasattr(resource, "prlimit"):
        with suppress(OSError, ValueError):
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (_inherited[0], hard))


def limit() -> int:
    """The soft limit now."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def in_use() -> int:
    """Descriptors that are open now."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # without the one of the listing
    except OSError:
        return 16


def share(limit: int, in_use: int, max_connections: int) -> DescriptorBudget:
    """Divide ``limit`` descriptors, of which ``in_use`` are taken already: every client can have a provider."""
    if limit == resource.RLIM_INFINITY:
        limit = 2**31
    spare = max(limit - in_use, 0)
    reserve = min(_RESERVE, spare // 2)
    half = max((spare - reserve) // 2, _LEAST)
    admin = max(reserve // 3, _LEAST)
    return DescriptorBudget(limit, min(max_connections, half), half, limit - reserve, limit - reserve * 2 // 3, admin)
