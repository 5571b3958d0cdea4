"""Requests the loaded models from the running proxy. Responses of other programs at its port are ignored."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import aiohttp
import msgspec

from onwards_py.config.listen_address import bracket_ipv6

_TIMEOUT: Final = 2.0  # for all requests together: another program may send a byte per second
_LARGEST_PAGE: Final = 1024 * 1024
_CONNECT_TO: Final[Mapping[str, str]] = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class _Config(msgspec.Struct):
    path: str


class _Status(msgspec.Struct):
    version: str
    config: _Config


class ReportedEngine(msgspec.Struct):
    """A local model and its state, as the running proxy reports it."""

    engine: str
    model: str
    state: str


class _Readiness(msgspec.Struct):
    engines: list[ReportedEngine]


_Page = TypeVar("_Page", _Status, _Readiness)


def running_engines(config: Path, host: str, port: int) -> list[ReportedEngine] | None:
    """The engines of the running proxy whose admin port this is; None if there is no proxy that serves ``config``."""
    try:
        return asyncio.run(_engines_of(config, host, port))
    except (OSError, TimeoutError, ValueError, aiohttp.ClientError, msgspec.MsgspecError):
        return None


async def _engines_of(config: Path, host: str, port: int) -> list[ReportedEngine] | None:
    host = _CONNECT_TO.get(host, host)
    base = f"http://{bracket_ipv6(host)}:{port}"
    timeout = aiohttp.ClientTimeout(total=None)
    async with asyncio.timeout(_TIMEOUT), aiohttp.ClientSession(base, timeout=timeout, trust_env=False) as session:
        status = await _get(session, "/status", _Status)
        if not _is_same_file(status.config.path, config):
            return None
        return (await _get(session, "/readyz", _Readiness)).engines


def _is_same_file(file: str, other: Path) -> bool:
    return os.path.realpath(file) == os.path.realpath(other)


async def _get(session: aiohttp.ClientSession, path: str, kind: type[_Page]) -> _Page:
    """The page, with any status: a proxy that is not ready answers with 503."""
    async with session.get(path, allow_redirects=False) as response:
        body = b""
        while len(body) < _LARGEST_PAGE and (more := await response.content.readany()):
            body += more
        return msgspec.json.decode(body, type=kind)
