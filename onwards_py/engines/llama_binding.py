"""llama.cpp's binding ``xllamacpp``: the module, and its parameters by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Protocol, cast

from onwards_py.engines.base import LoadError


class EmbeddingServer(Protocol):
    """What is used of ``xllamacpp.Server`` for vectors."""

    def handle_embeddings(self, request: str, /) -> str:
        """Answer a request in JSON with an answer, or ``{"error"}``. Blocks without the interpreter's lock."""


class Binding(Protocol):
    """What is used of the module ``xllamacpp``. The parameters are llama.cpp's; their attributes are set by name."""

    def CommonParams(self) -> object: ...

    def Server(self, params: object, /) -> EmbeddingServer: ...


def binding() -> Binding:
    """The module. Raises `LoadError` if it is not installed."""
    try:
        return cast("Binding", importlib.import_module("xllamacpp"))
    except ImportError:
        raise LoadError("llama.cpp's binding is not installed: pip install 'onwards-py[local]'.") from None


def assign(params: object, settings: Mapping[str, object]) -> None:
    """Set llama.cpp's parameters; a dot leads to those of a part (``cpuparams.n_threads``)."""
    for name, value in settings.items():
        *steps, last = name.split(".")
        part = params
        for step in steps:
            part = getattr(part, step)
        setattr(part, last, value)
