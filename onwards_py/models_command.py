"""``onwards-py models``: the local models that targets use, and the other models in installed packages."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO, cast

import msgspec

from onwards_py.admin.client import running_engines
from onwards_py.engines.install_command import install_command
from onwards_py.engines.model_finder import ModelFile, ModelNotFound, find_model, installed_models, missing_requirements
from onwards_py.engines.protocol import EngineName
from onwards_py.model.provider import EngineSettings
from onwards_py.model.snapshot import Snapshot

_NOT_RUNNING: Final = "not running"
_TITLES: Final = ("TARGET", "ENGINE", "MODEL", "SIZE", "STATE", "FILE")
_ABSENT: Final = "-"


class Row(msgspec.Struct, frozen=True):
    """One line. ``target`` None: no target uses the model; ``engine`` then lists the engines that can load it.

    ``bytes`` and ``path`` are None if the model was not found; ``advice`` is then the remedy. ``state`` is ``missing``,
    the state that the running proxy reports, or ``not running``; None if no target uses the model.
    """

    target: str | None
    engine: list[str]
    model: str
    bytes: int | None
    path: str | None
    state: str | None
    advice: str | None


def states_of(config: Path, admin_host: str, admin_port: int) -> dict[str, str] | None:
    """States of the engines of the running proxy with this admin port, by `loaded_key`; None if no proxy serves
    ``config`` there."""
    engines = running_engines(config, admin_host, admin_port)
    return None if engines is None else {loaded_key(one.engine, one.model): one.state for one in engines}


def loaded_key(engine: str, model: str) -> str:
    """The key of an engine's state: engine and model as in `EngineSettings`."""
    return f"{engine} {model}"


def run(snapshot: Snapshot | None, loaded: Mapping[str, str] | None, out: TextIO, *, as_json: bool = False) -> int:
    """Print the models, and return 0. ``snapshot`` None: there is no configuration. ``loaded``: states by `loaded_key`
    from the running proxy, None if there is none; other engines are ``not running``."""
    rows = list_models(snapshot, loaded or {})
    out.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n" if as_json else _text(rows))
    return 0


def list_models(snapshot: Snapshot | None, loaded: Mapping[str, str]) -> list[Row]:
    """First the models of targets, in the order of the configuration, then the models that are only installed."""
    configured = list(_configured(snapshot, loaded)) if snapshot is not None else []
    known = {row.path for row in configured}
    return [*configured, *(_unused(model) for model in installed_models() if str(model.path) not in known)]


def _configured(snapshot: Snapshot, loaded: Mapping[str, str]) -> Iterator[Row]:
    for pool in snapshot.pools.values():
        # One line for providers of a pool that share a process.
        for settings in dict.fromkeys(one.local for one in pool.providers if isinstance(one.local, EngineSettings)):
            yield _row(pool.name, settings, loaded)


def _row(target: str, settings: EngineSettings, loaded: Mapping[str, str]) -> Row:
    engine = cast("EngineName", settings.engine)
    advice = missing_requirements(settings.model, engine, install_command())
    # A proxy may still run a model whose files were removed; it could not be loaded again.
    running = loaded.get(loaded_key(engine, settings.model), _NOT_RUNNING)
    state = "missing" if advice is not None else running
    try:
        model = find_model(settings.model, engine)
    except ModelNotFound:
        return Row(target, [engine], settings.model, None, None, state, advice)
    return Row(target, [engine], settings.model, model.bytes, str(model.path), state, advice)


def _unused(model: ModelFile) -> Row:
    return Row(None, list(model.engines()), model.source, model.bytes, str(model.path), None, None)


def _text(rows: Sequence[Row]) -> str:
    if not rows:
        return "No local models: no target uses one, and no installed package contains one.\n"
    cells = [_TITLES, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    advice = [f"{row.target}: {row.advice}" for row in rows if row.advice is not None]
    if any(row.target is None for row in rows):
        advice.append(f"Models without a target ({_ABSENT}) are installed; a target can use them with 'model: ...'.")
    return "\n".join([*lines, *([""] if advice else []), *advice]) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    model = row.model if row.path is None or row.model.startswith("package:") else Path(row.path).name
    return (
        row.target or _ABSENT,
        ", ".join(row.engine),
        model,
        _ABSENT if row.bytes is None else _size(row.bytes),
        row.state or _ABSENT,
        _ABSENT if row.path is None else _with_tilde(row.path),
    )


def _size(count: int) -> str:
    """In powers of ten, like package indexes and download pages."""
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= one:
            return f"{count / one:.1f} {unit}" if count < 10 * one else f"{count / one:.0f} {unit}"
    return f"{count} B"


def _with_tilde(path: str) -> str:
    home = os.path.expanduser("~")
    return f"~{path[len(home) :]}" if home != "/" and path.startswith(home + os.sep) else path
