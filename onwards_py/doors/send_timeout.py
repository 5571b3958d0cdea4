"""Whether a client takes what is sent to it: the ``send_timeout`` of both doors."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from math import inf

from onwards_py.deadline_timer import LATENESS

# struct tcp_info of linux/tcp.h: eight bytes, 24 words of 32 bits, two rates, then what the peer has acknowledged.
_ACKED_AT = 120
_BYTES = struct.Struct("=Q")
_TCP_INFO = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None


class SendTimeout:
    """The progress of one connection's writes, looked at now and then by its door's timer, and when they pause.

    As nginx's ``send_timeout``, the time is that between two steps of progress, not that of the whole answer. But nginx
    counts its own writes, and the kernel takes the next one only when a third of a send buffer of up to 4 MiB is free:
    a client that reads slowly would seem to read nothing for minutes. So what counts here is what the client's kernel
    has acknowledged; where that cannot be told (not Linux, not TCP), what still waits in this process.
    """

    __slots__ = ("_mark", "_since")

    def __init__(self) -> None:
        self._mark = -1
        self._since = 0.0

    def check(self, transport: asyncio.Transport, now: float, timeout: float) -> float:
        """When to look again: inf if nothing waits to be written; ``now``, if for ``timeout`` seconds something has,
        and nothing of it has gone; else soon enough to notice both within a hundredth of the timeout."""
        waiting = transport.get_write_buffer_size()
        if not waiting:
            self._mark = -1
            return inf
        mark = _acknowledged(transport)
        if mark is None:
            mark = waiting
        if mark != self._mark:
            self._mark = mark
            self._since = now
        if now >= self._since + timeout:
            return now
        return min(self._since + timeout * LATENESS, now + timeout / 100)


def _acknowledged(transport: asyncio.Transport) -> int | None:
    """Bytes that the peer has acknowledged so far."""
    sock = transport.get_extra_info("socket")
    if _TCP_INFO is None or sock is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKED_AT + _BYTES.size)
    except OSError:
        return None  # closed already, or a Unix socket
    if len(info) < _ACKED_AT + _BYTES.size:
        return None  # Linux before 4.1
    acked: int = _BYTES.unpack_from(info, _ACKED_AT)[0]
    return acked
