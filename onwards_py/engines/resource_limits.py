"""What an engine's process may use, and where it may write. Linux's limits where there are any."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from onwards_py.engines.protocol import LaunchSpec

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_KILL_FIRST = b"500"  # of -1000 to 1000: when memory runs out, an engine goes before its proxy
_PR_SET_PDEATHSIG = 1  # prctl(2)


def take_output_descriptors() -> tuple[int, int]:
    """Descriptors for reports and for log lines, that nothing else knows.

    Descriptor 1 leads to where 2 does afterwards: what a library prints must not come among the reports.
    """
    reports, log = os.dup(1), os.dup(2)
    os.dup2(2, 1)
    return reports, log


def silence_output() -> None:
    """Send what libraries print nowhere: llama.cpp, for one, prints grammars that it cannot read, and those are
    parts of requests."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def set_signal_handlers() -> None:
    """SIGTERM ends the process at once. SIGINT is not for it: a terminal sends ^C to the whole group, and the proxy
    decides. Called again after loading, because libraries set handlers of their own."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def die_with_parent() -> None:
    """Let the kernel end this process with the one that started it.

    The closing of the standard input says the same, but loading can hold the interpreter's lock for seconds.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def apply(spec: LaunchSpec) -> None:
    """Niceness, memory, threads: before any library that computes is imported."""
    for name in _THREADS:
        os.environ[name] = str(spec.threads)
    # When ggml aborts, it would run a debugger on this process, and print what its functions were working on.
    os.environ["GGML_NO_BACKTRACE"] = "1"
    with suppress(OSError):
        os.nice(spec.nice)
    if spec.memory is not None:
        # Not the address space: the model's file is mapped, and costs nothing that could run out.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (spec.memory, spec.memory))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_KILL_FIRST)
