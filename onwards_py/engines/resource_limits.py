"""Limits and output of an engine's process; some limits exist on Linux only."""

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
_KILL_FIRST = b"500"  # of -1000 to 1000: when memory runs out, the kernel kills an engine before the proxy
_PR_SET_PDEATHSIG = 1  # prctl(2)


def take_output_descriptors() -> tuple[int, int]:
    """New descriptors for reports and for log lines, which libraries do not use.

    Afterwards descriptor 1 is a copy of descriptor 2, so that output of libraries is not mixed with the reports.
    """
    reports, log = os.dup(1), os.dup(2)
    os.dup2(2, 1)
    return reports, log


def silence_output() -> None:
    """Discard the output of libraries, which may contain requests: llama.cpp prints grammars that it cannot parse."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def set_signal_handlers() -> None:
    """SIGTERM ends the process at once. SIGINT is ignored: a terminal sends ^C to the whole process group, and the
    proxy stops its engines itself. Called again after loading, because libraries install handlers."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends.

    The end of the standard input has the same effect, but loading can hold the interpreter lock for seconds.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def apply(spec: LaunchSpec) -> None:
    """Set niceness, memory limit and threads, before any numeric library is imported."""
    for name in _THREADS:
        os.environ[name] = str(spec.threads)
    # Otherwise ggml runs a debugger when it aborts, and prints the arguments of functions.
    os.environ["GGML_NO_BACKTRACE"] = "1"
    with suppress(OSError):
        os.nice(spec.nice)
    if spec.memory is not None:
        # RLIMIT_AS would include the mapped model file.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (spec.memory, spec.memory))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_KILL_FIRST)
