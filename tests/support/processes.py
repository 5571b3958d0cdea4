"""Looking at other processes, by way of Linux's ``/proc``."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: int | str) -> list[str]:
    """State, parent and the rest of proc_pid_stat(5) from its third field on; nothing if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def runs(pid: int) -> bool:
    """True while the process exists and is no mere entry that nobody has collected."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def children(parent: int, word: str) -> list[int]:
    """The running children of a process whose command line has ``word`` in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _stat(entry.name)[1:2] == [str(parent)] and runs(int(entry.name)):
            try:
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def processor_seconds(pid: int) -> float:
    """What the process has computed so far, in user and kernel mode."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0
