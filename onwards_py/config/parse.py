"""Loads a configuration: from text to a snapshot with warnings, or to all errors of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onwards_py.config import yaml_tree
from onwards_py.config.compile import compile_file
from onwards_py.config.decode import Decoder
from onwards_py.config.diagnostics import NOWHERE, ConfigError, Diagnostics, Position, Problem
from onwards_py.config.inherit import Reporter
from onwards_py.config.references import Env
from onwards_py.config.schema import FileShape
from onwards_py.config.source_files import MAX_FILE, Digests, SourceFiles
from onwards_py.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration. ``warnings`` are in the order of the file.

    ``sources``: the files from which it was read: the file itself, secrets and trust stores.
    """

    snapshot: Snapshot
    warnings: tuple[Problem, ...] = ()
    sources: Digests = field(default_factory=dict)


def load(path: Path, env: Mapping[str, str], sources: SourceFiles | None = None) -> LoadedConfig:
    """Read and compile a file. ``env`` has the variables for ``${VAR}`` and for proxies. Raises ConfigError.

    ``sources`` reads the files, and afterwards names those that were read, even if loading failed.
    """
    sources = sources or SourceFiles()
    try:
        content = sources.read(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise ConfigError([Problem(str(path), NOWHERE, (), f"cannot be read: {reason}")]) from None
    if len(content) > MAX_FILE:
        raise ConfigError([Problem(str(path), NOWHERE, (), f"is larger than {MAX_FILE} bytes")])
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        position = Position(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise ConfigError([Problem(str(path), position, (), "is not UTF-8 text")]) from None
    return parse(text, str(path), env, sources)


def parse(text: str, filename: str, env: Mapping[str, str], sources: SourceFiles | None = None) -> LoadedConfig:
    """Compile YAML or JSON text. Raises ConfigError.

    ``filename`` is for messages; relative paths in the text start from its folder. ``sources`` reads other files.
    """
    diagnostics = Diagnostics(filename)
    used: list[object] = []
    try:
        return _parse(text, diagnostics, Env(env, Path(filename).parent, sources or SourceFiles()), used)
    finally:
        _drop(used)


def _parse(text: str, diagnostics: Diagnostics, env: Env, used: list[object]) -> LoadedConfig:
    """Intermediate results are appended to ``used``."""
    root = yaml_tree.read(text, diagnostics)
    decoder = Decoder(diagnostics, env)
    shape = decoder.file(root) if root is not None else None
    used += [root, shape, decoder.positions]
    snapshot = compile_file(shape, Reporter(diagnostics, decoder.positions), env) if shape is not None else None
    if diagnostics.errors or snapshot is None:
        raise ConfigError(diagnostics.errors)
    warnings = tuple(sorted(diagnostics.warnings, key=lambda problem: problem.position))
    return LoadedConfig(snapshot, warnings, env.sources.digests)


def _drop(used: list[object]) -> None:
    """Free trees and shapes piece by piece.

    Freeing 100,000 keys at once is one step of the interpreter, which would block the event loop for a third of a
    second during a reload.
    """
    while used:
        thing = used.pop()
        if isinstance(thing, yaml_tree.Mapping):
            used.extend(entry.value for entry in thing.entries)
        elif isinstance(thing, yaml_tree.Sequence):
            used.extend(thing.items)
        elif isinstance(thing, FileShape):
            used.append(thing.targets)
            if thing.auth is not None:
                used.append(thing.auth.key_definitions)
        elif isinstance(thing, dict):
            while thing:
                thing.popitem()
