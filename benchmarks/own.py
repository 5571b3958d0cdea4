"""onwards_py alone, with a configuration of its own: for what no other proxy does."""

from __future__ import annotations

import contextlib
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import fleet, processes
from benchmarks.peers import Place
from benchmarks.peers.onwards import CONFIG, serve
from benchmarks.processes import Running

_LOAD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Own:
    """A running proxy, its admin port and the file that configures it."""

    running: Running
    admin_port: int
    config: Path

    def page(self, path: str) -> str:
        """Return a page of the admin port. Raises OSError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    def metric(self, name: str) -> float:
        """Return the sum of all series whose line begins with ``name``."""
        lines = self.page("/metrics").splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@contextlib.contextmanager
def own(directory: Path, targets: Mapping[str, object], core: int | None) -> Iterator[Own]:
    """Serve ``targets`` on ``core`` until the block is left; it is ready when all eager models are loaded.

    ``UPSTREAM`` in a url is where the bench's provider listens. Raises PeerMissing, StartError.
    """
    with fleet.upstream(directory) as provider:
        filled = {name: _filled(target, provider.port) for name, target in targets.items()}
        with serving(directory, {"targets": filled}, core) as found:
            yield found


@contextlib.contextmanager
def serving(directory: Path, config: Mapping[str, object], core: int | None) -> Iterator[Own]:
    """Serve the whole configuration ``config`` in the same way. Raises PeerMissing, StartError."""
    home = Path(tempfile.mkdtemp(prefix="own-", dir=directory))
    port, admin_port = processes.free_port(), processes.free_port()
    argv = serve(Place(home, port, admin_port, 0), config)
    running = processes.start("onwards", argv, port, core=core, log=home / "output.log")
    try:
        found = Own(running, admin_port, home / CONFIG)
        _await_ready(found)
        yield found
    finally:
        running.stop()


def _filled(target: object, port: int) -> object:
    return {"url": f"http://127.0.0.1:{port}/"} if target == "UPSTREAM" else target


def _await_ready(found: Own) -> None:
    deadline = time.monotonic() + _LOAD_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            found.page("/readyz")
            return
        time.sleep(0.1)
    raise processes.StartError(f"the models do not load: {found.running.log_end()}")
