"""Standard input, output and error, as somebody may have left them: closed, full, broken."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import BinaryIO, TextIO, cast

_NAMES = ("stdin", "stdout", "stderr")


def open_missing() -> None:
    """Let descriptors 0 to 2 that are closed (``>&-``) lead to /dev/null.

    Python then has no such stream, and the next file or socket would get the number: what libraries and children
    write to standard error would go to some client.
    """
    for descriptor, name in enumerate(_NAMES):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            mode = "w" if descriptor else "r"
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115  (as long as the process)


def unbuffered(stream: TextIO) -> BinaryIO:
    """The same stream for bytes that are written at once or not at all: a buffer that cannot be emptied, since the
    disk is full, would be tried again when the program ends, and make that a failure."""
    with suppress(OSError, ValueError):
        stream.flush()
    return cast(BinaryIO, getattr(stream.buffer, "raw", stream.buffer))


def complain(text: str) -> None:
    """Print to standard error, if anything can be printed there."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def finish() -> None:
    """Write what is buffered; what cannot be written is dropped, lest the interpreter fail with it at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
