"""Recognising a provider that is this very process: its connections are ours at both ends.

A header would tell more (RFC 9110 section 7.6.3), but nothing is added to requests that are passed on. Loops through
other machines are not seen; limits and timeouts end those.
"""

from __future__ import annotations

import asyncio

Address = tuple[str, int]


class LoopDetector:
    """``port`` is what this process listens on (0: nothing). Addresses are those of our ends of connections to it."""

    __slots__ = ("_ours", "port")

    def __init__(self) -> None:
        self.port = 0
        self._ours: set[Address] = set()

    def add(self, transport: asyncio.Transport) -> Address | None:
        """A connection to a provider was made: our end of it, if it may lead back to us."""
        peer = transport.get_extra_info("peername")
        if not isinstance(peer, tuple) or peer[1] != self.port:
            return None
        name = transport.get_extra_info("sockname")
        address = (str(name[0]), int(name[1]))
        self._ours.add(address)
        return address

    def discard(self, address: Address) -> None:
        """That connection is gone."""
        self._ours.discard(address)

    def is_own_connection(self, address: str, port: int) -> bool:
        """Whether a connection that came from there is one of ours."""
        return bool(self._ours) and (address, port) in self._ours
