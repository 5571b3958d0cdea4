"""The package's shape: dependencies point one way, pure rooms stay pure, files and functions stay small.

Imports are read with ``ast``, so nothing is imported to be checked; what stands under ``TYPE_CHECKING`` counts too.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from support.tables import table

PACKAGE = Path(__file__).parent.parent / "onwards_py"

ORDER = (
    "__init__",
    "memory",
    "descriptors",
    "deadline_timer",
    "eager",
    "body_reading",
    "setting",
    "errors",
    "messages",
    "wire",
    "transcode",
    "model",
    "auth",
    "limits",
    "routing",
    "sealing",
    "engines",
    "config",
    "live_state",
    "transports",
    "observe",
    "health_checks",
    "proxy",
    "doors",
    "admin",
    "interpreter",
    "standard_streams",
    "models_command",
    "app",
    "cli",
    "__main__",
)
"""All rooms from the bottom up: a room imports only rooms that stand before it."""
PURE = frozenset({"setting", "errors", "messages", "wire", "transcode", "model", "auth", "limits", "routing"})
WORLDLY = frozenset({"asyncio", "aiohttp", "logging", "os", "random", "socket", "time"})
SHARED_BY_DIALECTS = "neutral"
"""The folder of ``transcode`` that its other folders, one per dialect, may import."""
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


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
    if steps[0] not in ORDER:
        return [f"{path}: the room {steps[0]} has no place in the order"]
    tree = ast.parse(source)
    found = list(_forbidden_imports(path, steps, list(imports_of(tree, ".".join(["onwards_py", *steps[:-1]])))))
    if (lines := source.count("\n")) > LONGEST_FILE:
        found.append(f"{path}: {lines} lines")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                found.append(f"{path}: {node.name} has {lines} lines")
    return found


def _forbidden_imports(path: str, steps: list[str], names: list[str]) -> Iterator[str]:
    room = steps[0]
    for name in names:
        head, *rest = name.split(".")
        if head != "onwards_py":
            if room in PURE and head in WORLDLY:
                yield f"{path}: a pure room imports {head}"
            continue
        # ``from onwards_py import __version__``: a name of the package itself.
        other = "__init__" if not rest or rest[0].startswith("__") else rest[0]
        if other not in ORDER:
            yield f"{path}: imports {name}, which has no place in the order"
        elif ORDER.index(other) > ORDER.index(room):
            yield f"{path}: {room} imports {other}, which stands above it"


def imported_siblings(path: str, source: str) -> list[str]:
    """Which other dialects a file of ``transcode/<dialect>/`` imports; ``path`` as above."""
    steps = path.split("/")
    if steps[0] != "transcode" or len(steps) < 3:
        return []
    names = imports_of(ast.parse(source), ".".join(["onwards_py", *steps[:-1]]))
    folders = {name.split(".")[2] for name in names if name.startswith("onwards_py.transcode.")}
    dialects = {folder.name for folder in (PACKAGE / "transcode").iterdir() if folder.is_dir()}
    return sorted((folders & dialects) - {steps[1], SHARED_BY_DIALECTS})


def repeated_classes(files: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Public class names that several of ``files`` (path and source) define, with the paths."""
    places: dict[str, list[str]] = {}
    for path, source in files:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(path)
    return {name: paths for name, paths in places.items() if len(paths) > 1}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def found_in_the_package(check: Callable[[str, str], list[str]]) -> dict[str, list[str]]:
    """The files of the package in which ``check`` finds something, and what it is."""
    found = {path: check(path, (PACKAGE / path).read_text()) for path in map(relative, sources())}
    return {path: problems for path, problems in found.items() if problems}


def relative(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def test_every_file_keeps_the_order_of_rooms_and_the_caps() -> None:
    """Imports point downward, pure rooms import no clock, socket or file, no file or function is over its cap."""
    assert found_in_the_package(violations) == {}


def test_no_dialect_imports_another() -> None:
    """Code that two dialects share is in ``neutral``; code that joins them is outside of their folders."""
    assert found_in_the_package(imported_siblings) == {}


def test_a_class_name_stands_in_one_place() -> None:
    """One name, one meaning, over the whole package; names that begin with ``_`` are a module's own."""
    assert repeated_classes((str(file.relative_to(PACKAGE)), file.read_text()) for file in sources()) == {}


def test_a_repeated_class_name_is_found() -> None:
    """In two rooms or in two files of one room, nested classes too; private ones and imports do not count."""
    files = [
        ("wire/a.py", "class Answer: ...\nclass _Own: ...\nclass Once: ...\n"),
        ("proxy/b.py", "class Outer:\n    class Answer: ...\nclass _Own: ...\nfrom onwards_py.wire.a import Once\n"),
    ]
    assert repeated_classes(files) == {"Answer": ["wire/a.py", "proxy/b.py"]}


def test_the_order_names_the_rooms_that_exist() -> None:
    """Neither a ghost nor a room without a place; and each has one place only."""
    rooms = [path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    assert sorted(ORDER) == sorted(rooms)
    assert set(ORDER) >= PURE


def test_the_documented_order_is_the_order() -> None:
    """The table in docs/architecture.md, read from its last line up, and each line from right to left."""
    rows = [row[0].split(", ") for row in table("architecture.md", "rooms")]
    documented = [room for row in reversed(rows) for room in reversed(row)]
    assert documented == [room for room in ORDER if not room.startswith("__")]


def test_every_room_says_what_lives_in_it() -> None:
    """Each room's ``__init__`` holds its charter."""
    charters = {
        file.parent.name: ast.get_docstring(ast.parse(file.read_text())) for file in PACKAGE.glob("*/__init__.py")
    }
    assert [room for room, charter in charters.items() if not charter] == []


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("wire/x.py", "from onwards_py.config.reload import Reloader\n", "wire imports config"),
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
        ("doors/x.py", "from onwards_py.admin.port import AdminPort\n", "doors imports admin"),
        ("errors.py", "from onwards_py.messages import Field\n", "errors imports messages"),
        ("wire/x.py", "from onwards_py.utils import thing\n", "no place"),
        ("utils/x.py", "", "no place"),
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
        ("model/x.py", "from onwards_py.wire.query import Query\n"),
        ("model/x.py", "from onwards_py.model.pool import Pool\nfrom .limits import Limits\n"),
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


@pytest.mark.parametrize(
    ("path", "source", "siblings"),
    [
        ("transcode/chat/x.py", "from onwards_py.transcode.responses.events import Event\n", ["responses"]),
        ("transcode/chat/x.py", "from ..responses import events\n", ["responses"]),
        ("transcode/responses/repair/x.py", "import onwards_py.transcode.chat.shapes\n", ["chat"]),
        ("transcode/neutral/x.py", "from onwards_py.transcode.chat import shapes\n", ["chat"]),
        ("transcode/chat/x.py", "from onwards_py.transcode.neutral.turns import Turn\nfrom .shapes import X\n", []),
        ("transcode/cut_notice.py", "from onwards_py.transcode.chat import shapes\n", []),
        ("proxy/translate/x.py", "from onwards_py.transcode.chat import shapes\n", []),
    ],
)
def test_an_import_between_dialects_is_found(path: str, source: str, siblings: list[str]) -> None:
    """Also one by ``neutral``, which knows no dialect; what puts dialects together stands outside of their folders."""
    assert imported_siblings(path, source) == siblings
