"""Reloading a configuration: it is loaded completely or rejected, and unchanged content is not a reload.

This file does not wait, log or read clocks, and nothing in it runs concurrently; `watch` decides when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from onwards_py.config.diagnostics import NOWHERE, ConfigError, Problem
from onwards_py.config.parse import LoadedConfig, load
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
    """The files do not hold a valid configuration."""

    problems: tuple[Problem, ...]


class Unchanged(Enum):
    """Why a reload applies nothing.

    ``ACTIVE``: the content is already active. ``RESTORED``: the same, after other content was rejected.
    ``STILL_REJECTED``: the content was already rejected. ``MOVING``: a file changed while the files were read.
    """

    ACTIVE = "in force"
    RESTORED = "restored"
    STILL_REJECTED = "still refused"
    MOVING = "moving"


ReloadResult = LoadedConfig | InvalidConfig | Unchanged


class Reloader:
    """Reloads the files of the configuration ``loaded``. ``env``: the environment variables for references."""

    def __init__(self, path: Path, env: Mapping[str, str], loaded: LoadedConfig) -> None:
        self._path = path
        self._env = env
        self._in_force = loaded.sources
        self._refused: Digests | None = None
        self._paths = tuple(loaded.sources)
        self._last_signature: tuple[object, ...] | None = None
        # The stat signature at the time of reading. It is unknown for files that were read before their first stat;
        # they are read once more.
        self._read_signature: tuple[object, ...] | None = None
        self._read_failed = False
        self.must_retry = False
        """True while the last reload failed because a file was missing or unreadable: then the files are polled even
        without ``watch``."""

    def has_changed(self) -> bool:
        """Whether to reload: the stat signature differs from that of the last reading, and is the same as at the last
        poll, so that no write is in progress. Does not read the files."""
        before, self._last_signature = self._last_signature, stat_signature(self._paths)
        return self._last_signature == before and self._last_signature != self._read_signature

    def reload(self, *, settled: bool = True) -> ReloadResult:
        """Load what is on disk now. The caller confirms a LoadedConfig by `note_applied` or `note_apply_failed`.

        Not ``settled``: the files were not polled twice. Two writes within one tick of the file system's clock have the
        same signature, so the files are read once more at the next poll.
        """
        paths = self._paths
        self._read_signature = stat_signature(paths)
        sources = SourceFiles()
        result = self._load_changed(sources)
        if stat_signature(paths) != self._read_signature:
            self._read_signature = None
            return Unchanged.MOVING
        if isinstance(result, InvalidConfig):
            self._refused = sources.digests
            self._read_failed = sources.read_failed
            self.must_retry = sources.read_failed or sources.file_missing
            # The files of the active configuration are polled too: they may be restored.
            self._paths = tuple(dict.fromkeys((*self._in_force, *sources.digests)))
        elif result in (Unchanged.ACTIVE, Unchanged.RESTORED):
            self._refused = None
            self._read_failed = self.must_retry = False
            self._paths = tuple(self._in_force)
        if paths != self._paths or not settled or self._read_failed:
            self._read_signature = None
        return result

    def note_applied(self, loaded: LoadedConfig) -> None:
        """``loaded`` is active from now on."""
        self._in_force = loaded.sources
        self._refused = None
        self._follow(loaded.sources)

    def note_apply_failed(self, loaded: LoadedConfig) -> None:
        """Applying ``loaded`` failed. It is not repeated before a file changes."""
        self._refused = loaded.sources
        self._follow({**self._in_force, **loaded.sources})

    def _follow(self, files: Digests) -> None:
        self._read_failed = self.must_retry = False
        self._paths = tuple(files)
        self._read_signature = None

    def _load_changed(self, sources: SourceFiles) -> ReloadResult:
        if is_unchanged_on_disk(self._in_force):
            return Unchanged.ACTIVE if self._refused is None else Unchanged.RESTORED
        if self._refused is not None and is_unchanged_on_disk(self._refused):
            return Unchanged.STILL_REJECTED
        if not is_regular(self._path):
            sources.note_missing(self._path)
            return InvalidConfig((Problem(str(self._path), NOWHERE, (), "is not a file any more"),))
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
    """The active configuration, and the results of reloads.

    ``last_error`` describes the rejected content of the files, if there is any; all other fields describe the active
    configuration. ``sha256``: of the main file (hex; empty if unknown). Times are in seconds since the epoch.
    """

    path: Path
    applied_at: float
    sha256: str = UNREADABLE
    warnings: int = 0
    generation: int = 1
    last_error: ReloadError | None = None
    results: dict[str, int] = field(default_factory=lambda: {"applied": 0, "unchanged": 0, "refused": 0})

    def describe(self, loaded: LoadedConfig) -> None:
        """Describe ``loaded``, which is active."""
        self.sha256 = loaded.sources.get(self.path, UNREADABLE)
        self.warnings = len(loaded.warnings)

    def note_applied(self, loaded: LoadedConfig, now: float) -> None:
        """``loaded`` is active from now on."""
        self.describe(loaded)
        self.applied_at = now
        self.generation += 1
        self.last_error = None
        self.results["applied"] += 1

    def note_refused(self, problems: tuple[str, ...], now: float) -> None:
        """The files were rejected; the active configuration stays."""
        self.last_error = ReloadError(now, problems)
        self.results["refused"] += 1

    def note_unchanged(self, *, restored: bool = False) -> None:
        """A reload found no change. ``restored``: after a rejection, the files have the active content again."""
        if restored:
            self.last_error = None
        self.results["unchanged"] += 1
