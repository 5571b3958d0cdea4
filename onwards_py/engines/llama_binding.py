"""The Python binding of llama.cpp, ``xllamacpp``: the module, and its parameters by name."""

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
    """The methods of ``xllamacpp.Server`` that are used here. They block without the interpreter lock. The methods
    for text call the callback once per chunk, and stop when it returns True."""

    def handle_chat_completions(self, request: str, callback: Callback, /) -> object: ...

    def handle_completions(self, request: str, callback: Callback, /) -> object: ...

    def handle_embeddings(self, request: str, /) -> str:
        """The JSON response to a JSON request, or ``{"error"}``."""


class Binding(Protocol):
    """The part of the module ``xllamacpp`` that is used here."""

    def CommonParams(self) -> object: ...

    def Server(self, params: object, /) -> Server: ...


def binding() -> Binding:
    """The module. Raises `LoadError` if it is not installed."""
    try:
        return cast("Binding", importlib.import_module("xllamacpp"))
    except ImportError:
        raise LoadError(f"llama.cpp's binding is not installed: {install_hint('llama_cpp')}.") from None


def settings_for(spec: LaunchSpec, file: Path, back_door: Path) -> dict[str, object]:
    """Parameters of all engines that use llama.cpp, by name; dots separate nested names.

    ``back_door``: the path of llama.cpp's own listener, which cannot be disabled.
    """
    return {
        "model.path": str(file),
        "hostnames": [str(back_door)],
        "n_parallel": spec.slots,
        "n_gpu_layers": spec.gpu_layers,
        "cpuparams.n_threads": spec.threads,
        "cpuparams_batch.n_threads": spec.threads,
        # Waiting threads sleep: spinning would take CPU time from the proxy.
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
    """Set parameters of llama.cpp; dots separate nested names (``cpuparams.n_threads``)."""
    for name, value in settings.items():
        *steps, last = name.split(".")
        part = params
        for step in steps:
            part = getattr(part, step)
        setattr(part, last, value)
