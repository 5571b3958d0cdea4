"""The usual scene: a raw upstream, and a gateway in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from support.gateway import Gateway, running
from support.origin import Origin, Script, origin
from support.targets import single


@asynccontextmanager
async def proxied(lane: bool, *scripts: Script, **options: object) -> AsyncIterator[tuple[Origin, Gateway]]:
    """A gateway whose only target ``m`` has one provider, which follows ``scripts``; ``options`` are the target's."""
    async with origin(*scripts) as upstream, running(single(upstream.url, **options), lane=lane) as gateway:
        yield upstream, gateway


async def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds, looking once per turn of the loop; TimeoutError after 20 s."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  (what is waited for offers no event)
            await asyncio.sleep(0)
