"""onwards_py as another commit of this repository has it: ``--against REV``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.peers import Peer, Place
from benchmarks.peers.onwards import plain_config, write_config
from benchmarks.processes import ROOT


def commit(revision: str, directory: Path) -> Peer:
    """Return the peer "against": the package of ``revision``, unpacked below ``directory``, in this environment.

    Raises SystemExit if there is no such revision.
    """
    home = directory / "against"
    home.mkdir()
    try:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", revision, "onwards_py"], check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", str(home)], input=archive.stdout, check=True)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"--against {revision}: {error.stderr.decode(errors='replace').strip()}") from None

    def command(place: Place) -> list[str]:
        path = write_config(place, plain_config(place))
        ports = ["--port", str(place.port), "--admin-port", str(place.admin_port)]
        # -P: without it, Python would find the package of the working directory first.
        program = ["env", f"PYTHONPATH={home}", sys.executable, "-P", "-m", "onwards_py"]
        return [*program, "serve", "--config", str(path), *ports]

    return Peer("against", command, lambda: f"onwards_py of {revision}")
