"""Standard input, output and error, which may be closed, full or broken when the program starts."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import BinaryIO, TextIO, cast

_NAMES = ("stdin", "stdout", "stderr")


def reopen_closed() -> None:
    """Connect closed descriptors 0 to 2 (``>&-``) to /dev/null.

    Otherwise Python has no such stream, and the next file or socket gets the number.
    Then output of libraries and child processes to standard error would go to a client.
    """
    for descriptor, name in enumerate(_NAMES):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is that of the closed descriptor
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            mode = "w" if descriptor else "r"
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115  (as long as the process)


def unbuffered(stream: TextIO) -> BinaryIO:
    """The same stream without a buffer.

    On a full disk, Python would write a buffer again when the program ends, and turn the exit code into a failure.
    """
    with suppress(OSError, ValueError):
        stream.flush()
    return cast(BinaryIO, getattr(stream.buffer, "raw", stream.buffer))


def print_error(text: str) -> None:
    """Print to standard error. Errors of writing are ignored."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def flush() -> None:
    """Write the buffers. Output that cannot be written is dropped: otherwise the interpreter would fail at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
