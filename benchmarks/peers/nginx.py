"""nginx with one worker."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from signal import Signals

from benchmarks import traffic
from benchmarks.peers import Peer, PeerMissing, Place

_CONFIG = """
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 20000;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log {directory}/access.log;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  client_max_body_size 64m;
  keepalive_requests 100000000;
  upstream provider {{
    {servers}
    keepalive 256;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer {key}";
      proxy_buffering off;
      proxy_next_upstream error timeout non_idempotent;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""


def nginx(path: str | None) -> Peer:
    """Return the peer; ``path`` of the binary, or None to look for it in PATH and /usr/sbin."""
    binary = path or shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

    def command(place: Place) -> list[str]:
        if binary is None or not Path(binary).exists():
            raise PeerMissing("nginx is not in PATH nor in /usr/sbin (apt-get install nginx-light)")
        config = place.directory / "nginx.conf"
        # A worker of another user could not write below a private temporary directory.
        ports = [port for port in (place.upstream_port, place.spare_upstream_port) if port is not None]
        user = "user root;" if Path(place.directory).owner() == "root" else ""
        config.write_text(
            _CONFIG.format(
                user=user,
                directory=place.directory,
                port=place.port,
                servers=" ".join(f"server 127.0.0.1:{port};" for port in ports),
                key=traffic.UPSTREAM_KEY,
            )
        )
        return [binary, "-p", str(place.directory), "-c", str(config), "-e", str(place.directory / "error.log")]

    def version() -> str:
        found = subprocess.run([binary or "nginx", "-v"], capture_output=True, text=True, check=False)
        return found.stderr.strip().removeprefix("nginx version: ")

    return Peer("nginx", command, version, drain_signal=Signals.SIGQUIT, falls_back=True)
