"""onwards_py as another commit of this repository has it: ``--against REV``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers import Peer, Place
from benchmarks.peers.onwards import plain_config, serve
from benchmarks.processes import ROOT

AGAINST = "against"


def program_of(revision: str, directory: Path) -> list[str]:
    """Unpack the package of ``revision`` below ``directory``; return the command that runs it in this environment.

    Raises SystemExit if there is no such revision.
    """
    home = directory / AGAINST
    home.mkdir()
    try:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", revision, "onwards_py"], check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", str(home)], input=archive.stdout, check=True)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"--against {revision}: {error.stderr.decode(errors='replace').strip()}") from None
    # -P: without it, Python would find the package of the working directory first.
    return ["env", f"PYTHONPATH={home}", sys.executable, "-P", "-m", "onwards_py"]


def commit(revision: str, program: Sequence[str]) -> Peer:
    """Return the peer "against", run by ``program``."""

    def command(place: Place) -> list[str]:
        return serve(place, plain_config(place), program=program)

    return Peer(AGAINST, command, lambda: f"onwards_py of {revision}")
