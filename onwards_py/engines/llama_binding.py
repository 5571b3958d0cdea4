"""llama.cpp's binding ``xllamacpp``: the module, and its parameters by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, cast

from onwards_py.engines.base import LoadError
from onwards_py.engines.model_finder import install_hint
from onwards_py.engines.protocol import LaunchSpec

Callback = Callable[[str], bool]

_SILENT = -1


class Server(Protocol):
    """What is used of ``xllamacpp.Server``: all block without the interpreter's lock. Those for text call back once per
    chunk, and stop when told True."""

    def handle_chat_completions(self, request: str, callback: Callback, /) -> object: ...

    def handle_completions(self, request: str, callback: Callback, /) -> object: ...

    def handle_embeddings(self, request: str, /) -> str:
        """Answer a request in JSON with an answer, or ``{"error"}``."""


class Binding(Protocol):
    """What is used of the module ``xllamacpp``. The parameters are llama.cpp's; their attributes are set by name."""

    def CommonParams(self) -> object: ...

    def Server(self, params: object, /) -> Server: ...


def binding() -> Binding:
    """The module. Raises `LoadError` if it is not installed."""
    try:
        return cast("Binding", importlib.import_module("xllamacpp"))
    except ImportError:
        raise LoadError(f"llama.cpp's binding is not installed: {install_hint('llama_cpp')}.") from None


def settings_for(spec: LaunchSpec, file: Path, back_door: Path) -> dict[str, object]:
    """The parameters that every engine on llama.cpp has, by their names in the binding, dots for those of parts.

    ``back_door``: where llama.cpp's own listener goes, which cannot be turned off.
    """
    return {
        "model.path": str(file),
        "hostnames": [str(back_door)],
        "n_parallel": spec.slots,
        "n_gpu_layers": spec.gpu_layers,
        "cpuparams.n_threads": spec.threads,
        "cpuparams_batch.n_threads": spec.threads,
        # Threads that wait sleep: what they would gain by spinning, the proxy would lose.
        "cpuparams.poll": 0,
        "cpuparams_batch.poll": 0,
        "n_threads_http": 1,
        "fit_params": False,
        "cache_ram_mib": 0,
        "ui": False,
        "endpoint_slots": False,
        "endpoint_metrics": False,
        "offline": True,
        "verbosity": _SILENT,
    }


def assign(params: object, settings: Mapping[str, object]) -> None:
    """Set llama.cpp's parameters; a dot leads to those of a part (``cpuparams.n_threads``)."""
    for name, value in settings.items():
        *steps, last = name.split(".")
        part = params
        for step in steps:
            part = getattr(part, step)
        setattr(part, last, value)
