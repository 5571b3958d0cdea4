"""Errors and warnings about a configuration file. No message contains a value of the file, which may be a secret."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from msgspec import Struct

from onwards_py.config.secret_shapes import LONGEST_WORD, looks_secret

Path = tuple[str | int, ...]
"""A place in the file's structure: keys and list indexes from the root."""


HIDDEN = "(hidden)"
"""Shown instead of a name that may be a secret."""


class Position(Struct, frozen=True, order=True, gc=False):
    """Line and column, counted from 1; ``NOWHERE`` for the file as a whole."""

    line: int
    column: int


NOWHERE = Position(0, 0)


@dataclass(frozen=True, slots=True)
class Problem:
    """One error or warning; its text is ``file:line:col: path: message``."""

    file: str
    position: Position
    path: Path
    message: str

    def __str__(self) -> str:
        place = self.file
        if self.position != NOWHERE:
            place += f":{self.position.line}:{self.position.column}"
        return f"{place}: {dotted(self.path)}: {self.message}" if self.path else f"{place}: {self.message}"


class ConfigError(Exception):
    """An invalid configuration. ``problems``: all errors, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.position, problem.message)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Diagnostics:
    """Collects the errors and warnings of one file, so that all of them are reported at once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    def error(self, position: Position, path: Path, message: str) -> None:
        self.errors.append(Problem(self.file, position, path, message))

    def warn(self, position: Position, path: Path, message: str) -> None:
        self.warnings.append(Problem(self.file, position, path, message))


def dotted(path: Path) -> str:
    """``("targets", "gpt-4", "providers", 0)`` as ``targets.gpt-4.providers[0]``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{printable(step)}"
    return text.removeprefix(".")


def child_path(path: Path, word: str) -> Path:
    """The path of an arbitrary key. A key that is too long for a name is omitted; the position shows its place."""
    return (*path, word) if len(word) <= LONGEST_WORD else path


def printable(key: str) -> str:
    """A name for a message: without control characters, and hidden if it looks like a secret."""
    if looks_secret(key):
        return HIDDEN
    return key if key.isprintable() and key else repr(key)


def quoted(word: str) -> str:
    """An unknown word in quotes. It may be anything, so a long one is always hidden."""
    if len(word) > LONGEST_WORD or looks_secret(word):
        return "(hidden, as it is long or looks like a secret)"
    return f"'{printable(word)}'"


def did_you_mean(word: str, known: Iterable[str], similarity: float = 0.6) -> str:
    """A hint to append to a message; empty if no known word has this ``similarity`` (0 to 1: equal)."""
    # difflib is quadratic, and no known key is that long.
    close = get_close_matches(word, list(known), n=1, cutoff=similarity) if len(word) <= 64 else []
    return f"; did you mean '{close[0]}'?" if close and not looks_secret(close[0]) else ""
