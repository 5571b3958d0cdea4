"""Detection of a provider URL that leads back to this process, which then owns both ends of the connection.

A header field would detect more (RFC 9110 section 7.6.3), but no field is added to requests that are passed on.
Loops through other machines are not detected. Limits and timeouts end them.
"""

from __future__ import annotations

import asyncio

Address = tuple[str, int]


class LoopDetector:
    """Knows this process's ends of the upstream connections that lead back to it."""

    __slots__ = ("_own_ends", "port")

    def __init__(self) -> None:
        self.port = 0
        """The port on which this process listens. 0: not known yet."""
        self._own_ends: set[Address] = set()

    def add(self, transport: asyncio.Transport) -> Address | None:
        """A connection to a provider was made. Returns its own end, if it may lead back to this process."""
        peer = transport.get_extra_info("peername")
        if not isinstance(peer, tuple) or peer[1] != self.port:
            return None
        name = transport.get_extra_info("sockname")
        address = (str(name[0]), int(name[1]))
        self._own_ends.add(address)
        return address

    def discard(self, address: Address) -> None:
        """Forget the connection with this end, which was closed."""
        self._own_ends.discard(address)

    def is_own_connection(self, address: str, port: int) -> bool:
        """True if a client connection from this address is an upstream connection of this process."""
        return bool(self._own_ends) and (address, port) in self._own_ends
