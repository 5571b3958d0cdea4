"""The provider of the bench: a raw uvloop server with prebuilt answers.

``python -m benchmarks.upstream --port P``. It ends by itself after ``--lifetime`` seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import re
import time
from dataclasses import dataclass
from typing import cast

import uvloop

from benchmarks import traffic

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d+)")
_PIECE = 256 * 1024
_BIG = 4096
_GOLDEN = 0.6180339887


@functools.cache
def _big_answer(size: int) -> bytes:
    return traffic.big_answer(size)


@dataclass(slots=True)
class Phases:
    """Spreads streams that begin together, so that their events do not arrive together."""

    count: int = 0

    def next(self) -> float:
        self.count += 1
        return self.count * _GOLDEN % 1.0


class Provider(asyncio.Protocol):
    """One upstream connection: requests in, prebuilt answers out, one at a time."""

    def __init__(self, phases: Phases) -> None:
        self._phases = phases
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._unsent = memoryview(b"")
        self._paused = False
        self._left = 0
        self._interval = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self._transport = cast(asyncio.Transport, transport)  # uvloop registers no subclass

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        end = self._message_end(data)
        if end is None:
            self._received = data
            return
        self._received = data[end:]
        self.answer(data[:end])

    def answer(self, request: bytes) -> None:
        """Answer one whole request as its body says."""
        if b'"seed"' in request:
            self._answer_steered(request[request.index(b"\r\n\r\n") + 4 :])
        else:
            self.write(traffic.ANSWER)

    @staticmethod
    def _message_end(data: bytes) -> int | None:
        """Return where the first request ends, or None while it is not whole."""
        head_end = data.find(b"\r\n\r\n") + 4
        if head_end < 4:
            return None
        length = _LENGTH.search(data, 0, head_end)
        if length is not None:
            end = head_end + int(length[1])
            return end if len(data) >= end else None
        if b"chunked" not in data[:head_end].lower():
            return head_end
        last = data.find(b"\r\n0\r\n\r\n", head_end)
        return last + 7 if last > 0 else None

    def _answer_steered(self, body: bytes) -> None:
        start, stop = body.index(b"{"), body.rindex(b"}") + 1
        chat = json.loads(body[start:stop])
        wait = chat["seed"] / 1000
        if chat.get("stream"):
            self._begin_stream(chat["max_tokens"], wait)
        else:
            size = chat["max_tokens"]
            answer = _big_answer(size) if size > _BIG else traffic.ANSWER
            self._timer = self._loop.call_later(wait, self._send_whole, answer)

    def _send_whole(self, answer: bytes) -> None:
        self._unsent = memoryview(answer)
        self._push()

    def _push(self) -> None:
        while len(self._unsent) and not self._paused and self._transport is not None:
            piece, self._unsent = self._unsent[:_PIECE], self._unsent[_PIECE:]
            self._transport.write(piece)

    def _begin_stream(self, events: int, interval: float) -> None:
        self._left = events - 1
        self._interval = interval
        self.write(traffic.STREAM_HEAD + traffic.event_chunk(time.monotonic()))
        self._due = self._loop.time() + interval * self._phases.next()
        self._timer = self._loop.call_at(self._due, self._next_event)

    def _next_event(self) -> None:
        if self._left == 0:
            self.write(traffic.LAST_CHUNKS)
            return
        self._left -= 1
        self.write(traffic.event_chunk(time.monotonic()))
        self._due += self._interval
        self._timer = self._loop.call_at(self._due, self._next_event)

    def write(self, data: bytes) -> None:
        """Send, unless the connection has gone."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._push()


async def _serve(port: int, lifetime: float) -> None:
    phases = Phases()
    server = await asyncio.get_running_loop().create_server(lambda: Provider(phases), "127.0.0.1", port, backlog=4096)
    async with server:
        await asyncio.sleep(lifetime)


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--lifetime", type=float, default=1800.0, help="seconds until it ends by itself")
    arguments = parser.parse_args()
    uvloop.run(_serve(arguments.port, arguments.lifetime))


if __name__ == "__main__":
    main()
