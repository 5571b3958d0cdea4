"""The files of a configuration, and the detection of changes."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

MAX_FILE = 64 * 1024 * 1024

UNREADABLE = ""
"""The digest of a file that is missing or unreadable."""

Digests = Mapping[Path, str]
"""SHA-256 (hex) of each file, by its path as written."""


class SourceFiles:
    """Reads each file of one load once, so that a load never sees two states of a file.

    ``digests`` has all files that were read or attempted, without contents. ``file_missing``: a file did not exist.
    ``read_failed``: a file could not be read for another reason (EMFILE, EIO, ESTALE, EACCES), which may disappear
    without a change of any stat signature.
    """

    def __init__(self) -> None:
        self.digests: dict[Path, str] = {}
        self.file_missing = self.read_failed = False
        self._contents: dict[Path, bytes] = {}

    def read(self, path: Path) -> bytes:
        """At most ``MAX_FILE`` + 1 bytes of a file. Raises OSError, or ValueError for an invalid file name."""
        content = self._contents.get(path)
        if content is None:
            self.digests[path] = UNREADABLE
            try:
                content = self._contents[path] = _content(path)
            except OSError:
                self.read_failed = True
                raise
            self.digests[path] = sha256(content).hexdigest()
        return content

    def note_missing(self, path: Path) -> None:
        """Record that a file is missing; it may appear later."""
        self.digests[path] = UNREADABLE
        self.file_missing = True


def is_unchanged_on_disk(digests: Digests) -> bool:
    """Whether all files still have the same content. Reads them."""
    return all(_digest(path) == digest for path, digest in digests.items())


def stat_signature(paths: Iterable[Path]) -> tuple[object, ...]:
    """The results of stat(2) for the paths, following symbolic links. It changes when a file is written, replaced or
    removed, or when a link on the way to it changes. Does not read the files."""
    return tuple(map(_stat, paths))


def is_regular(path: Path) -> bool:
    """Whether ``path`` is an existing regular file. Reading a pipe could block, and a pipe is empty the second time."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE + 1)


def _digest(path: Path) -> str:
    try:
        return sha256(_content(path)).hexdigest() if is_regular(path) else UNREADABLE
    except OSError:
        return UNREADABLE


def _stat(path: Path) -> object:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    # The change time detects reused inodes, and writers that restore the modification time.
    return (
        found.st_dev,
        found.st_ino,
        stat.S_IFMT(found.st_mode),
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )
