"""The files that a configuration was made of, and how to tell that one of them changed."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

MAX_FILE = 64 * 1024 * 1024

UNREADABLE = ""
"""The digest of what is not there, or cannot be read."""

Digests = Mapping[Path, str]
"""SHA-256 (hex) of each file by its path as it was named."""


class SourceFiles:
    """Reads the files of one load, each of them once, so that one load never sees two states of a file. Afterwards
    ``digests`` says what was read, or tried to be; it holds no contents. ``file_missing``: some file was not there.
    ``read_failed``: some could not be read for another reason (EMFILE, EIO, ESTALE, EACCES), which may pass without any
    file looking otherwise afterwards."""

    def __init__(self) -> None:
        self.digests: dict[Path, str] = {}
        self.file_missing = self.read_failed = False
        self._contents: dict[Path, bytes] = {}

    def read(self, path: Path) -> bytes:
        """At most ``MAX_FILE`` + 1 bytes of a file. Raises OSError, or ValueError for what is no file name."""
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
        """Note that a file was asked for that is none; it may become one."""
        self.digests[path] = UNREADABLE
        self.file_missing = True


def is_unchanged_on_disk(digests: Digests) -> bool:
    """Whether reading the same files again would give the same. Reads them."""
    return all(_digest(path) == digest for path, digest in digests.items())


def stat_signature(paths: Iterable[Path]) -> tuple[object, ...]:
    """What stat(2) says of the files behind the paths, symbolic links being followed: it differs once a file was
    written, replaced, removed, or a link on the way to it leads elsewhere. Reads nothing."""
    return tuple(map(_looks, paths))


def is_regular(path: Path) -> bool:
    """False for what is not there too. A pipe could block who reads it, and is empty the second time."""
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


def _looks(path: Path) -> object:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    # The change time is there for inodes that are used again and for writers that put the modification time back.
    return (
        found.st_dev,
        found.st_ino,
        stat.S_IFMT(found.st_mode),
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )
