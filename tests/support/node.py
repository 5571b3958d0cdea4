"""Clients that run on Node.js: found, or the test is skipped and says what to install."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support.program import clean_environment

FOLDER = Path(__file__).parents[1] / "node"
MODULES = FOLDER / "node_modules"
_OLDEST = 20
_PATIENCE = 60
_QUIET = {"NO_COLOR": "1", "NODE_NO_WARNINGS": "1", "DO_NOT_TRACK": "1"}


@cache
def _node() -> str | None:
    """The interpreter, if there is one that is new enough."""
    found = shutil.which("node")
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=_PATIENCE, check=False).stdout
    return found if said.startswith("v") and int(said[1:].split(".")[0]) >= _OLDEST else None


def needed(package: str) -> None:
    """Skip the test unless Node.js and ``package`` are there."""
    if _node() is None:
        pytest.skip(f"needs Node.js {_OLDEST} or newer")
    if not (MODULES / package).is_dir():
        pytest.skip(f"needs {package}: run `npm ci` in tests/node")


def pinned() -> set[str]:
    """``package@version`` of all that `package.json` asks for, under their own names."""
    asked = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    return {made.removeprefix("npm:") if ":" in made else f"{name}@{made}" for name, made in asked.items()}


def start(
    script: Path | str, arguments: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script to its end. ``env`` is its whole environment; None: this process's without proxies."""
    node = _node()
    assert node is not None
    return subprocess.run(
        [node, str(script), *arguments],
        cwd=cwd,
        env=clean_environment(**_QUIET) if env is None else {**_QUIET, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )


def seen(name: str, *arguments: str) -> Any:
    """What the program ``tests/node/{name}.mjs`` tells in its one line; the test fails if the program does."""
    done = start(FOLDER / f"{name}.mjs", arguments, FOLDER)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
