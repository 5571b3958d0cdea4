"""Asking the proxy that serves a file what it has loaded. Answers of any other program at its port are not used."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import aiohttp
import msgspec

from onwards_py.config.listen_address import bracket_ipv6

_SECONDS: Final = 2.0  # for everything together: a stranger may answer a byte a second
_LONGEST: Final = 1024 * 1024
_EVERYWHERE: Final[Mapping[str, str]] = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class _Config(msgspec.Struct):
    path: str


class _Status(msgspec.Struct):
    version: str
    config: _Config


class ReportedEngine(msgspec.Struct):
    """A local model and how it is there."""

    engine: str
    model: str
    state: str


class _Readiness(msgspec.Struct):
    engines: list[ReportedEngine]


_Answer = TypeVar("_Answer", _Status, _Readiness)


def running_engines(config: Path, host: str, port: int) -> list[ReportedEngine] | None:
    """The engines of the proxy that serves ``config`` and whose admin port is this one; None if nobody answers, or
    another program, or a proxy that serves another file."""
    try:
        return asyncio.run(_engines_of(config, host, port))
    except (OSError, TimeoutError, ValueError, aiohttp.ClientError, msgspec.MsgspecError):
        return None


async def _engines_of(config: Path, host: str, port: int) -> list[ReportedEngine] | None:
    host = _EVERYWHERE.get(host, host)
    base = f"http://{bracket_ipv6(host)}:{port}"
    timeout = aiohttp.ClientTimeout(total=None)
    async with asyncio.timeout(_SECONDS), aiohttp.ClientSession(base, timeout=timeout, trust_env=False) as session:
        status = await _ask(session, "/status", _Status)
        if not _are_one(status.config.path, config):
            return None
        return (await _ask(session, "/readyz", _Readiness)).engines


def _are_one(file: str, other: Path) -> bool:
    return os.path.realpath(file) == os.path.realpath(other)


async def _ask(session: aiohttp.ClientSession, path: str, kind: type[_Answer]) -> _Answer:
    """Whatever the status: not being ready is an answer, too."""
    async with session.get(path, allow_redirects=False) as response:
        body = b""
        while len(body) < _LONGEST and (more := await response.content.readany()):
            body += more
        return msgspec.json.decode(body, type=kind)
