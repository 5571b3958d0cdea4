"""Reading a configuration again: what changed on disk is judged as a whole, and what did not change is nothing.

Nothing here waits, logs or knows the time, and nothing runs concurrently: `watch` says when.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from onwards_py.config.parse import Loaded, load
from onwards_py.config.problems import NOWHERE, ConfigError, Problem
from onwards_py.config.sources import UNREADABLE, Digests, Sources, is_regular, same_as_on_disk, signature


@dataclass(frozen=True, slots=True)
class Refused:
    """What was read cannot be used."""

    problems: tuple[Problem, ...]


class Same(Enum):
    """What was read is nothing new: it is in force; it is again, after something else was refused; or it was refused
    before and still is. ``MOVING``: it changed while it was read, so that nothing can be said."""

    IN_FORCE = "in force"
    RESTORED = "restored"
    STILL_REFUSED = "still refused"
    MOVING = "moving"


Verdict = Loaded | Refused | Same


class Reading:
    """Everything that ``loaded`` was made of, and how it looks now. ``env`` is what references in the file refer to."""

    def __init__(self, path: Path, env: Mapping[str, str], loaded: Loaded) -> None:
        self._path = path
        self._env = env
        self._in_force = loaded.sources
        self._refused: Digests | None = None
        self._paths = tuple(loaded.sources)
        self._seen: tuple[object, ...] | None = None
        # How the files looked when they were read. It is not known of files that were read before they were looked
        # at: they are read once more, and found to be the same.
        self._read: tuple[object, ...] | None = None
        self._stumbled = False
        self.unfinished = False
        """True while what was read last cannot be used since a file was missing or could not be read: it is to be
        looked at until that is over, even if nobody watches otherwise."""

    def look(self) -> bool:
        """Whether it is time to read: the files look otherwise than when they were read, and as they did at the last
        look, so that nobody is in the middle of writing them. Looks and does not read."""
        before, self._seen = self._seen, signature(self._paths)
        return self._seen == before and self._seen != self._read

    def read(self, *, settled: bool = True) -> Verdict:
        """Judge what is on disk now. A Loaded is to be confirmed by `applied`, or by `failed`.

        Not ``settled``: nobody has looked twice. Two writes within one tick of the file system's clock look the same,
        so the files are read once more when looks have found them at rest.
        """
        paths = self._paths
        self._read = signature(paths)
        sources = Sources()
        verdict = self._judge(sources)
        if signature(paths) != self._read:
            self._read = None
            return Same.MOVING
        if isinstance(verdict, Refused):
            self._refused = sources.digests
            self._stumbled = sources.stumbled
            self.unfinished = sources.stumbled or sources.absent
            # What is in force is still looked after too: its files may come back.
            self._paths = tuple(dict.fromkeys((*self._in_force, *sources.digests)))
        elif verdict in (Same.IN_FORCE, Same.RESTORED):
            self._refused = None
            self._stumbled = self.unfinished = False
            self._paths = tuple(self._in_force)
        if paths != self._paths or not settled or self._stumbled:
            self._read = None
        return verdict

    def applied(self, loaded: Loaded) -> None:
        """``loaded`` is in force from now on."""
        self._in_force = loaded.sources
        self._refused = None
        self._follow(loaded.sources)

    def failed(self, loaded: Loaded) -> None:
        """``loaded`` could not be put into force. It is not tried again before something changes."""
        self._refused = loaded.sources
        self._follow({**self._in_force, **loaded.sources})

    def _follow(self, files: Digests) -> None:
        self._stumbled = self.unfinished = False
        self._paths = tuple(files)
        self._read = None

    def _judge(self, sources: Sources) -> Verdict:
        if same_as_on_disk(self._in_force):
            return Same.IN_FORCE if self._refused is None else Same.RESTORED
        if self._refused is not None and same_as_on_disk(self._refused):
            return Same.STILL_REFUSED
        if not is_regular(self._path):
            sources.missing(self._path)
            return Refused((Problem(str(self._path), NOWHERE, (), "is no file any more"),))
        try:
            return load(self._path, self._env, sources)
        except ConfigError as error:
            return Refused(error.problems)


@dataclass(frozen=True, slots=True)
class Refusal:
    """``at``: seconds since the epoch."""

    at: float
    problems: tuple[str, ...]


@dataclass(slots=True)
class Standing:
    """Which configuration is in force, and what became of attempts to change it.

    Never describes a configuration that was refused, but for ``refusal``, which is gone as soon as the files are in
    force again. ``sha256`` is that of the file itself (hex; empty if nobody knows). Times in seconds since the epoch.
    """

    path: Path
    applied_at: float
    sha256: str = UNREADABLE
    warnings: int = 0
    generation: int = 1
    refusal: Refusal | None = None
    results: dict[str, int] = field(default_factory=lambda: {"applied": 0, "unchanged": 0, "refused": 0})

    def describe(self, loaded: Loaded) -> None:
        """``loaded`` is what is in force."""
        self.sha256 = loaded.sources.get(self.path, UNREADABLE)
        self.warnings = len(loaded.warnings)

    def applied(self, loaded: Loaded, now: float) -> None:
        """``loaded`` is in force from now on."""
        self.describe(loaded)
        self.applied_at = now
        self.generation += 1
        self.refusal = None
        self.results["applied"] += 1

    def refused(self, problems: tuple[str, ...], now: float) -> None:
        """What is in force stays."""
        self.refusal = Refusal(now, problems)
        self.results["refused"] += 1

    def unchanged(self, *, restored: bool = False) -> None:
        """There was nothing new; ``restored``: what is on disk is in force again."""
        if restored:
            self.refusal = None
        self.results["unchanged"] += 1
