"""An engine's process without a model: it keeps the contract, or breaks it, as it is told.

Run as a program. How it loads is in the order's ``model``, a JSON object with ``folder`` (where it leaves notes and
looks for gates) and, optionally:

- ``load``: ``fail`` (with ``message``), ``die``, ``never``, or ``gated`` until the file ``load`` is in the folder;
- ``good_from``: the number of the first start (from 1) that follows ``load: well``; those before do as ``load`` says.

What it does with a request is in the request's body, see the functions of `Deeds`. The notes, a line each: ``starts``
has the process ids, ``came`` and ``left`` what became of requests that it holds.

It imports nothing of the package, so that it is a second reading of the contract.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b\r\n\r\n"
_ORDER_KEYS = {"engine", "model", "socket", "cache"}


class Fake:
    """The process: its order, its answers to pings, and its notes."""

    def __init__(self, order: Json) -> None:
        assert order.keys() >= _ORDER_KEYS, order
        self.order = order
        self.plan: Json = json.loads(order["model"])
        self.folder = Path(self.plan["folder"])
        self.mute = False
        self.stuck = 0.0
        self.server: asyncio.Server | None = None
        self.served = 0

    def report(self, **report: object) -> None:
        """One line on standard output."""
        os.write(1, json.dumps(report).encode() + b"\n")

    def note(self, name: str, text: object) -> None:
        with (self.folder / name).open("a") as file:
            file.write(f"{text}\n")

    async def gate(self, name: str, reader: asyncio.StreamReader | None = None) -> None:
        """Wait until the file ``name`` is there. Raises ConnectionError if the asking side of ``reader`` leaves."""
        while not (self.folder / name).exists():
            if reader is not None and (reader.at_eof() or reader.exception() is not None):
                self.note("left", name)
                raise ConnectionResetError
            await asyncio.sleep(0.002)

    async def load(self) -> None:
        self.note("starts", os.getpid())
        starts = len((self.folder / "starts").read_text().split())
        how = self.plan.get("load", "well") if starts < self.plan.get("good_from", sys.maxsize) else "well"
        if how == "fail":
            self.report(type="failed", message=self.plan["message"])
            os._exit(1)
        if how == "die":
            print("these are my last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "gated":
            await self.gate("load")
        if how == "never":
            await asyncio.Event().wait()
        self.server = await asyncio.start_unix_server(self.serve, self.order["socket"], backlog=1024)
        self.report(type="ready", seconds=0.25, file="fake.gguf", bytes=12_000_000)

    def heard(self, line: bytes) -> None:
        """A ping."""
        if not self.mute:
            self.report(type="pong", number=json.loads(line)["number"], stuck=self.stuck)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.lower().split(b": ", 1) for line in head[:-4].split(b"\r\n")[1:])
                body = json.loads(await reader.readexactly(int(fields[b"content-length"])))
                self.served += 1
                deed = getattr(Deeds(self, reader, writer, body, head), body.get("do", "answer"))
                await deed()
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Deeds:
    """What can be done with one request: the names are the values of ``do``."""

    def __init__(
        self, fake: Fake, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: Json, head: bytes
    ) -> None:
        self._fake = fake
        self._reader = reader
        self._writer = writer
        self._body = body
        self._head = head

    async def answer(self) -> None:
        """Say who this is, what was asked, and how often."""
        said = {"pid": os.getpid(), "served": self._fake.served, "head": self._head.decode(), "asked": self._body}
        self._json({**said, "environment": dict(os.environ), "order": self._fake.order})

    async def hold(self) -> None:
        """Answer when the file ``gate`` is there."""
        self._fake.note("came", self._body["gate"])
        await self._fake.gate(self._body["gate"], self._reader)
        await self.answer()

    async def halves(self) -> None:
        """Send the head and half of a whole answer, and the rest when the file ``gate`` is there."""
        self._writer.write(_HEAD % (b"application/json", b"Content-Length: 4") + b'{"')
        self._fake.note("came", self._body["gate"])
        await self._fake.gate(self._body["gate"], self._reader)
        self._writer.write(b'":')

    async def stream(self) -> None:
        """Send ``events`` events; ``then`` names what is done instead of the end: a deed, or nothing."""
        self._writer.write(_HEAD % (b"text/event-stream", b"Transfer-Encoding: chunked"))
        for number in range(self._body.get("events", 2)):
            self._chunk(b"data: %d\n\n" % number)
            await self._writer.drain()
        then = self._body.get("then")
        if then is not None:
            await getattr(self, then)()
        if "gate" in self._body:
            self._fake.note("came", self._body["gate"])
            await self._fake.gate(self._body["gate"], self._reader)
        self._chunk(b"data: [DONE]\n\n")
        self._writer.write(b"0\r\n\r\n")

    async def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def die_once(self) -> None:
        """Die the first time that this is asked of any process, then answer."""
        if not (self._fake.folder / "died").exists():
            self._fake.note("died", os.getpid())
            await self.die()
        await self.answer()

    async def freeze(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    async def hush(self) -> None:
        """Leave pings unanswered from now on, and the request too."""
        self._fake.mute = True
        await self._fake.gate("never", self._reader)

    async def stick(self) -> None:
        """Report a computation that has not stopped for an hour."""
        self._fake.stuck = 3600.0
        await self._fake.gate("never", self._reader)

    async def babble(self) -> None:
        """Report ``text``."""
        os.write(1, self._body["text"].encode() + b"\n")
        await self._fake.gate("never", self._reader)

    async def utter(self) -> None:
        """Say ``text`` on standard error, then answer."""
        print(self._body["text"], file=sys.stderr, flush=True)
        await self.answer()

    async def tell(self) -> None:
        """Report what is in ``reports``, then answer."""
        for report in self._body["reports"]:
            self._fake.report(**report)
        await self.answer()

    async def deafen(self) -> None:
        """Take no further connections, and close this one."""
        assert self._fake.server is not None
        self._fake.server.close()
        os.unlink(self._fake.order["socket"])
        raise ConnectionResetError

    async def mumble(self) -> None:
        """Answer with what is no HTTP."""
        self._writer.write(b"what?\r\n\r\n")
        raise ConnectionResetError

    def _json(self, answer: Mapping[str, object]) -> None:
        body = json.dumps(answer).encode()
        self._writer.write(_HEAD % (b"application/json", b"Content-Length: %d" % len(body)) + body)

    def _chunk(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))


async def main() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    fake = Fake(json.loads(await reader.readline()))
    loading = asyncio.create_task(fake.load())
    while line := await reader.readline():
        await loading
        fake.heard(line)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
