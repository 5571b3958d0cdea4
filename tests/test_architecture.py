"""The package's shape: dependencies point one way, pure rooms stay pure, files and functions stay small.

Imports are read with ``ast``, so nothing is imported to be judged; what stands under ``TYPE_CHECKING`` counts too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "onwards_py"

# From the bottom up; the rooms of one rank may import each other.
RANKS: tuple[frozenset[str], ...] = (
    frozenset(
        {"messages", "errors", "setting", "eager", "write_batch", "deadline_timer", "descriptors", "memory", "__init__"}
    ),
    frozenset({"wire", "model", "routing", "limits", "auth", "transcode"}),
    frozenset({"engines"}),
    frozenset({"conversation"}),
    frozenset({"config", "live_state", "sealing"}),
    frozenset({"transports", "stores", "tools", "observe"}),
    frozenset({"proxy"}),
    frozenset({"doors", "admin"}),
    frozenset({"standard_streams", "interpreter"}),
    frozenset({"app", "models_command"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
PURE = frozenset(
    {"messages", "errors", "setting", "wire", "model", "routing", "limits", "auth", "transcode", "conversation"}
)
WORLDLY = frozenset({"asyncio", "aiohttp", "logging", "os", "random", "socket", "time"})
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def rank_of(room: str) -> int | None:
    return next((rank for rank, rooms in enumerate(RANKS) if room in rooms), None)


def imports_of(tree: ast.Module, package: str) -> Iterator[str]:
    """Dotted names of everything that is imported anywhere in ``tree``; ``package`` resolves relative imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def violations(path: str, source: str) -> list[str]:
    """What is wrong with one file; ``path`` is relative to the package, with slashes."""
    steps = path.removesuffix(".py").split("/")
    room = steps[0]
    rank = rank_of(room)
    if rank is None:
        return [f"{path}: the room {room} has no rank"]
    tree = ast.parse(source)
    found = list(_forbidden_imports(path, room, rank, imports_of(tree, ".".join(["onwards_py", *steps[:-1]]))))
    if (lines := source.count("\n")) > LONGEST_FILE:
        found.append(f"{path}: {lines} lines")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                found.append(f"{path}: {node.name} has {lines} lines")
    return found


def _forbidden_imports(path: str, room: str, rank: int, names: Iterator[str]) -> Iterator[str]:
    for name in names:
        head, *rest = name.split(".")
        if head != "onwards_py":
            if room in PURE and head in WORLDLY:
                yield f"{path}: a pure room imports {head}"
            continue
        other = rest[0] if rest else "__init__"
        # ``from onwards_py import __version__``: a name of the package itself.
        other_rank = rank_of(other)
        if other_rank is None:
            other_rank = 0 if other.startswith("__") else None
        if other_rank is None:
            yield f"{path}: imports {name}, which has no rank"
        elif other_rank > rank:
            yield f"{path}: {room} imports {other}, which stands above it"


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", sources(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_every_file_keeps_the_order_of_rooms_and_the_caps(file: Path) -> None:
    """Imports point downward, pure rooms import nothing worldly, no file or function is over its cap."""
    assert violations(file.relative_to(PACKAGE).as_posix(), file.read_text()) == []


def test_every_room_says_what_lives_in_it() -> None:
    """Each room's ``__init__`` holds its charter."""
    charters = {
        file.parent.name: ast.get_docstring(ast.parse(file.read_text())) for file in PACKAGE.glob("*/__init__.py")
    }
    assert [room for room, charter in charters.items() if not charter] == []


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("wire/x.py", "from onwards_py.config.snapshot import Snapshot\n", "wire imports config"),
        ("wire/x.py", "import onwards_py.app\n", "wire imports app"),
        ("wire/x.py", "from onwards_py import proxy\n", "wire imports proxy"),
        ("wire/x.py", "from ..transports import base\n", "wire imports transports"),
        ("transports/deep/x.py", "from ...proxy.handler import Proxy\n", "transports imports proxy"),
        ("proxy/x.py", "def f():\n    from onwards_py.doors.lane import Lane\n", "proxy imports doors"),
        (
            "routing/x.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from onwards_py.live_state import Holder\n",
            "routing imports live_state",
        ),
        ("limits/x.py", "import time\n", "imports time"),
        ("auth.py", "from os import environ\n", "imports os"),
        ("messages.py", "import asyncio.events\n", "imports asyncio"),
        ("wire/x.py", "from onwards_py.utils import thing\n", "no rank"),
        ("utils/x.py", "", "no rank"),
        ("proxy/x.py", "x = 1\n" * 401, "401 lines"),
        ("proxy/x.py", "def long():\n" + "    x = 1\n" * 60, "long has 61 lines"),
        ("proxy/x.py", "async def long():\n" + "    x = 1\n" * 60, "long has 61 lines"),
    ],
)
def test_a_planted_violation_is_found(path: str, source: str, complaint: str) -> None:
    """The checker itself works: it names what is wrong with source text that breaks a rule."""
    found = violations(path, source)
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("wire/x.py", "from onwards_py.model.provider import Provider\n"),  # same rank
        ("doors/x.py", "import asyncio\nfrom onwards_py.messages import Ending\n"),
        ("cli.py", "from onwards_py import __version__\n"),
        ("proxy/x.py", "x = 1\n" * 400),
        ("proxy/x.py", "def long():\n" + "    x = 1\n" * 59),
        ("wire/x.py", "import timeit_like_but_not_time\nfrom urllib.parse import quote\n"),
    ],
)
def test_what_is_allowed_is_not_complained_about(path: str, source: str) -> None:
    """The checker has no false alarms at the borders of its rules."""
    assert violations(path, source) == []
