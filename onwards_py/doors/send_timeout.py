"""The ``send_timeout`` of both doors: the timeout of a client that does not read its response."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from math import inf

from onwards_py.deadline_timer import LATENESS

# struct tcp_info of linux/tcp.h: eight bytes, 24 words of 32 bits, two rates, then tcpi_bytes_acked.
_ACKED_AT = 120
_BYTES = struct.Struct("=Q")
_TCP_INFO = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None


class SendTimeout:
    """The progress of one connection's writes.

    As in nginx, the timeout limits the time between two steps of progress, not that of the whole response.
    But nginx counts its own writes, and the kernel accepts the next one only when a third of a send buffer of up to
    4 MiB is free: a slow client would seem to be idle for minutes.
    So progress is measured in bytes that the client's kernel has acknowledged.
    Where that number is not known (not Linux, not TCP), progress is measured in bytes that this process has written.
    """

    __slots__ = ("_progress", "_since")

    def __init__(self) -> None:
        self._progress = -1
        self._since = 0.0

    def check(self, transport: asyncio.Transport, now: float, timeout: float) -> float:
        """Returns the time of the next check.

        inf: no bytes are waiting to be sent.
        ``now``: the timeout has expired, because bytes have waited for ``timeout`` seconds without progress.
        Otherwise a time at which progress, or the timeout, is noticed with an error of one percent of the timeout.
        """
        waiting = transport.get_write_buffer_size()
        if not waiting:
            self._progress = -1
            return inf
        progress = _acknowledged(transport)
        if progress is None:
            progress = waiting
        if progress != self._progress:
            self._progress = progress
            self._since = now
        if now >= self._since + timeout:
            return now
        return min(self._since + timeout * LATENESS, now + timeout / 100)


def _acknowledged(transport: asyncio.Transport) -> int | None:
    """Bytes that the client's kernel has acknowledged so far. None: not known."""
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
