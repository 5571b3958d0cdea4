"""Reading a configuration again: what changed on disk is judged as a whole, and what did not change is nothing.

Nothing here waits, logs or knows the time, and nothing runs concurrently: `watch` says when.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from onwards_py.config.diagnostics import NOWHERE, ConfigError, Problem
from onwards_py.config.parse import Loaded, load
from onwards_py.config.source_files import (
    UNREADABLE,
    Digests,
    SourceFiles,
    is_regular,
    is_unchanged_on_disk,
    stat_signature,
)


@dataclass(frozen=True, slots=True)
class InvalidConfig:
    """What was read cannot be used."""

    problems: tuple[Problem, ...]


class Unchanged(Enum):
    """What was read is nothing new: it is in force; it is again, after something else was refused; or it was refused
    before and still is. ``MOVING``: it changed while it was read, so that nothing can be said."""

    IN_FORCE = "in force"
    RESTORED = "restored"
    STILL_REFUSED = "still refused"
    MOVING = "moving"


ReloadResult = Loaded | InvalidConfig | Unchanged


class Reloader:
    """Everything that ``loaded`` was made of, and how it looks now. ``env`` is what references in the file refer to."""

    def __init__(self, path: Path, env: Mapping[str, str], loaded: Loaded) -> None:
        self._path = path
        self._env = env
        self._in_force = loaded.sources
        self._refused: Digests | None = None
        self._paths = tuple(loaded.sources)
        self._last_signature: tuple[object, ...] | None = None
        # How the files looked when they were read. It is not known of files that were read before they were looked
        # at: they are read once more, and found to be the same.
        self._read_signature: tuple[object, ...] | None = None
        self._read_failed = False
        self.must_retry = False
        """True while what was read last cannot be used since a file was missing or could not be read: it is to be
        looked at until that is over, even if nobody watches otherwise."""

    def has_changed(self) -> bool:
        """Whether it is time to read: the files look otherwise than when they were read, and as they did at the last
        look, so that nobody is in the middle of writing them. Looks and does not read."""
        before, self._last_signature = self._last_signature, stat_signature(self._paths)
        return self._last_signature == before and self._last_signature != self._read_signature

    def reload(self, *, settled: bool = True) -> ReloadResult:
        """Judge what is on disk now. A Loaded is to be confirmed by `note_applied`, or by `note_apply_failed`.

        Not ``settled``: nobody has looked twice. Two writes within one tick of the file system's clock look the same,
        so the files are read once more when looks have found them at rest.
        """
        paths = self._paths
        self._read_signature = stat_signature(paths)
        sources = SourceFiles()
        result = self._judge(sources)
        if stat_signature(paths) != self._read_signature:
            self._read_signature = None
            return Unchanged.MOVING
        if isinstance(result, InvalidConfig):
            self._refused = sources.digests
            self._read_failed = sources.read_failed
            self.must_retry = sources.read_failed or sources.file_missing
            # What is in force is still looked after too: its files may come back.
            self._paths = tuple(dict.fromkeys((*self._in_force, *sources.digests)))
        elif result in (Unchanged.IN_FORCE, Unchanged.RESTORED):
            self._refused = None
            self._read_failed = self.must_retry = False
            self._paths = tuple(self._in_force)
        if paths != self._paths or not settled or self._read_failed:
            self._read_signature = None
        return result

    def note_applied(self, loaded: Loaded) -> None:
        """``loaded`` is in force from now on."""
        self._in_force = loaded.sources
        self._refused = None
        self._follow(loaded.sources)

    def note_apply_failed(self, loaded: Loaded) -> None:
        """``loaded`` could not be put into force. It is not tried again before something changes."""
        self._refused = loaded.sources
        self._follow({**self._in_force, **loaded.sources})

    def _follow(self, files: Digests) -> None:
        self._read_failed = self.must_retry = False
        self._paths = tuple(files)
        self._read_signature = None

    def _judge(self, sources: SourceFiles) -> ReloadResult:
        if is_unchanged_on_disk(self._in_force):
            return Unchanged.IN_FORCE if self._refused is None else Unchanged.RESTORED
        if self._refused is not None and is_unchanged_on_disk(self._refused):
            return Unchanged.STILL_REFUSED
        if not is_regular(self._path):
            sources.note_missing(self._path)
            return InvalidConfig((Problem(str(self._path), NOWHERE, (), "is no file any more"),))
        try:
            return load(self._path, self._env, sources)
        except ConfigError as error:
            return InvalidConfig(error.problems)


@dataclass(frozen=True, slots=True)
class ReloadError:
    """``at``: seconds since the epoch."""

    at: float
    problems: tuple[str, ...]


@dataclass(slots=True)
class ReloadStatus:
    """Which configuration is in force, and what became of attempts to change it.

    Never describes a configuration that was refused, but for ``last_error``, which is gone as soon as the files are in
    force again. ``sha256`` is that of the file itself (hex; empty if nobody knows). Times in seconds since the epoch.
    """

    path: Path
    applied_at: float
    sha256: str = UNREADABLE
    warnings: int = 0
    generation: int = 1
    last_error: ReloadError | None = None
    results: dict[str, int] = field(default_factory=lambda: {"applied": 0, "unchanged": 0, "refused": 0})

    def describe(self, loaded: Loaded) -> None:
        """``loaded`` is what is in force."""
        self.sha256 = loaded.sources.get(self.path, UNREADABLE)
        self.warnings = len(loaded.warnings)

    def note_applied(self, loaded: Loaded, now: float) -> None:
        """``loaded`` is in force from now on."""
        self.describe(loaded)
        self.applied_at = now
        self.generation += 1
        self.last_error = None
        self.results["applied"] += 1

    def note_refused(self, problems: tuple[str, ...], now: float) -> None:
        """What is in force stays."""
        self.last_error = ReloadError(now, problems)
        self.results["refused"] += 1

    def note_unchanged(self, *, restored: bool = False) -> None:
        """There was nothing new; ``restored``: what is on disk is in force again."""
        if restored:
            self.last_error = None
        self.results["unchanged"] += 1
