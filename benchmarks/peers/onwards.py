"""onwards_py, started as a user starts it; through the byte lane or through the aiohttp door."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from signal import Signals

from benchmarks import traffic
from benchmarks.peers import Peer, PeerMissing, Place

CONFIG = "targets.json"


def plain_config(place: Place) -> dict[str, object]:
    """Return the benchmark's configuration: one target; with a spare upstream, a pool of two with fallback."""
    ports = [port for port in (place.upstream_port, place.spare_upstream_port) if port is not None]
    providers = [{"url": f"http://127.0.0.1:{port}/", "onwards_key": traffic.UPSTREAM_KEY} for port in ports]
    if len(providers) == 1:
        return {"targets": {traffic.MODEL: providers[0]}}
    fallback = {"enabled": True, "on_status": [5]}
    return {"targets": {traffic.MODEL: {"fallback": fallback, "providers": providers}}}


_OPEN_RATE = {"requests_per_second": 1_000_000, "burst_size": 1_000_000}
_LIMITS: dict[str, object] = {
    "rate_limit": _OPEN_RATE,
    "concurrency_limit": {"max_concurrent_requests": 1_000_000},
    "token_limit": {"tokens_per_minute": 1_000_000_000},
}
"""Each kind of limit, so wide that nothing is refused."""
LIMITED_EACH = 100


def key_of(number: int) -> str:
    """Return the token of the guarded peer's user of that number."""
    return f"sk-user-{number:06d}"


def _guarded_config(place: Place, users: Iterable[int], tokens: bool = True) -> dict[str, object]:
    """Return one target behind the load's key and those of ``users``: it and each hundredth have every limit, or every
    one but that of ``tokens``."""
    own = _LIMITS if tokens else {name: limit for name, limit in _LIMITS.items() if name != "token_limit"}
    definitions: dict[str, object] = {"client": {"key": traffic.CLIENT_KEY, **own}}
    for number in users:
        limits = {"rate_limit": _OPEN_RATE} if number % LIMITED_EACH else _LIMITS
        definitions[f"user-{number:06d}"] = {"key": key_of(number), **limits}
    provider = {"url": f"http://127.0.0.1:{place.upstream_port}/", "onwards_key": traffic.UPSTREAM_KEY}
    target = {"keys": list(definitions), **own, "providers": [provider]}
    return {"auth": {"key_definitions": definitions}, "targets": {traffic.MODEL: target}}


def write_config(place: Place, config: Mapping[str, object]) -> Path:
    """Write the configuration below ``place``; return its path."""
    path = place.directory / CONFIG
    path.write_text(json.dumps(config, separators=(",", ":")))
    return path


def serve(
    place: Place, config: Mapping[str, object], lane: str = "on", *, program: Sequence[str] | None = None
) -> list[str]:
    """Write the configuration; return the command that serves it. ``program`` runs another onwards_py than the
    installed one. Raises PeerMissing."""
    path = write_config(place, config)
    ports = ["--port", str(place.port), "--admin-port", str(place.admin_port)]
    return [*(program or installed()), "serve", "--config", str(path), *ports, "--lane", lane]


def installed() -> list[str]:
    """Return the installed program. Raises PeerMissing."""
    beside = str(Path(sys.executable).parent)
    binary = shutil.which("onwards-py", path=beside) or shutil.which("onwards-py")
    if binary is None:
        raise PeerMissing("onwards-py is neither beside this Python nor in PATH (pip install -e .)")
    return [binary]


def onwards(name: str, lane: str) -> Peer:
    """Return the peer; ``lane`` is ``on`` or ``off``."""

    def command(place: Place) -> list[str]:
        return serve(place, plain_config(place), lane)

    return Peer(name, command, lambda: _version(lane), drain_signal=Signals.SIGTERM, falls_back=True)


def guarded(name: str, users: Iterable[int] = (), *, tokens: bool = True, program: Sequence[str] | None = None) -> Peer:
    """Return the peer with authentication and every kind of limit on (but for that of ``tokens``), and the keys of so
    many ``users`` in its file. ``program`` runs another onwards_py than the installed one."""

    def command(place: Place) -> list[str]:
        return serve(place, _guarded_config(place, users, tokens), program=program)

    return Peer(name, command, lambda: _version("on"), drain_signal=Signals.SIGTERM, start_seconds=300.0)


def _version(lane: str) -> str:
    return f"onwards-py/{importlib.metadata.version('onwards-py')} --lane {lane}"
