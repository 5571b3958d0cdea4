"""A plain aiohttp reverse proxy, tuned as far as aiohttp's own switches go.

``python -m benchmarks.peers.aiohttp_proxy --port P --upstream-port Q``. uvloop, C parsers, no access
log, no cookies, no decompression, no router: what a careful author writes without leaving aiohttp.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict

from benchmarks import traffic
from benchmarks.peers import Peer, Place

_DROPPED = ("Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "TE", "Trailer", "Proxy-Authorization")
_SMALL = 64 * 1024


def _forwarded(fields: CIMultiDict[str]) -> CIMultiDict[str]:
    for name in _DROPPED:
        fields.popall(name, None)
    return fields


class _Proxy:
    def __init__(self, session: aiohttp.ClientSession, upstream_port: int) -> None:
        self._session = session
        self._host = f"127.0.0.1:{upstream_port}"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        fields = _forwarded(CIMultiDict(request.headers))
        fields["Host"] = self._host
        fields["Authorization"] = f"Bearer {traffic.UPSTREAM_KEY}"
        body = await request.read()
        url = f"http://{self._host}{request.raw_path}"
        async with self._session.request(request.method, url, headers=fields, data=body) as answer:
            head = _forwarded(CIMultiDict(answer.headers))
            if answer.content_length is not None and answer.content_length <= _SMALL:
                return web.Response(status=answer.status, headers=head, body=await answer.read())
            response = web.StreamResponse(status=answer.status, headers=head)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


async def _serve(port: int, upstream_port: int) -> None:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=75),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=5),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
    ) as session:
        runner = web.ServerRunner(web.Server(_Proxy(session, upstream_port).handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await asyncio.Event().wait()


def aiohttp_proxy() -> Peer:
    """Return the peer."""

    def command(place: Place) -> list[str]:
        ports = ["--port", str(place.port), "--upstream-port", str(place.upstream_port)]
        return [sys.executable, "-m", "benchmarks.peers.aiohttp_proxy", *ports]

    return Peer("aiohttp", command, lambda: f"aiohttp/{aiohttp.__version__}")


def main() -> None:
    """Parse the arguments and serve until a signal ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream-port", type=int, required=True)
    arguments = parser.parse_args()
    uvloop.run(_serve(arguments.port, arguments.upstream_port))


if __name__ == "__main__":
    main()
