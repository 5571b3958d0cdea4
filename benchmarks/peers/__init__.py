"""The proxies that are compared: how each is configured for the same job and started.

The job: forward ``POST /v1/...`` to one upstream over kept-alive connections, put the upstream's
credential in the place of the client's, pass event streams on without buffering, on one core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from signal import Signals


class PeerMissing(Exception):
    """The peer is not installed here; the message says how it was looked for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one start of a peer happens: an empty directory of its own and free ports."""

    directory: Path
    port: int
    admin_port: int
    upstream_port: int
    spare_upstream_port: int | None = None
    """A second provider with the same answers, for those that can fall back."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One proxy. ``command`` writes the configuration and returns the argument vector; raises PeerMissing."""

    name: str
    command: Callable[[Place], list[str]]
    version: Callable[[], str]
    drain_signal: Signals | None = None
    """What asks it to finish its exchanges and end; None: it cannot."""
    start_seconds: float = 60.0
    """How long it may take until it listens."""
    falls_back: bool = False
    """``command`` configures ``spare_upstream_port`` as a second provider."""
