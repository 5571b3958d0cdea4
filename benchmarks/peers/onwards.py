"""onwards_py, started as a user starts it; through the byte lane or through the aiohttp door."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from signal import Signals

from benchmarks import traffic
from benchmarks.peers import Peer, PeerMissing, Place


def _config(place: Place) -> dict[str, object]:
    ports = [port for port in (place.upstream_port, place.spare_upstream_port) if port is not None]
    providers = [{"url": f"http://127.0.0.1:{port}/", "onwards_key": traffic.UPSTREAM_KEY} for port in ports]
    if len(providers) == 1:
        return {"targets": {traffic.MODEL: providers[0]}}
    fallback = {"enabled": True, "on_status": [5]}
    return {"targets": {traffic.MODEL: {"fallback": fallback, "providers": providers}}}


def serve(place: Place, config: Mapping[str, object], lane: str = "on") -> list[str]:
    """Write the configuration; return the command that serves it. Raises PeerMissing."""
    beside = str(Path(sys.executable).parent)
    binary = shutil.which("onwards-py", path=beside) or shutil.which("onwards-py")
    if binary is None:
        raise PeerMissing("onwards-py is neither beside this Python nor in PATH (pip install -e .)")
    path = place.directory / "targets.json"
    path.write_text(json.dumps(config))
    ports = ["--port", str(place.port), "--admin-port", str(place.admin_port)]
    return [binary, "serve", "--config", str(path), *ports, "--lane", lane]


def onwards(name: str, lane: str) -> Peer:
    """Return the peer; ``lane`` is ``on`` or ``off``."""

    def command(place: Place) -> list[str]:
        return serve(place, _config(place), lane)

    def version() -> str:
        return f"onwards-py/{importlib.metadata.version('onwards-py')} --lane {lane}"

    return Peer(name, command, version, drain_signal=Signals.SIGTERM, falls_back=True)
