"""The class of each engine, imported on demand, because each needs its own libraries."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from onwards_py.engines.base import Engine
from onwards_py.engines.protocol import EngineName, LaunchSpec

_CLASSES: dict[EngineName, tuple[str, str]] = {
    "llama_cpp": ("onwards_py.engines.llama", "LlamaEngine"),
    "embedding": ("onwards_py.engines.embedding", "EmbeddingEngine"),
    "classifier": ("onwards_py.engines.classifier", "ClassifierEngine"),
}


def make_engine(spec: LaunchSpec) -> Engine:
    """The engine that the specification names, not loaded yet."""
    module, name = _CLASSES[spec.engine]
    factory = cast("Callable[[LaunchSpec], Engine]", getattr(importlib.import_module(module), name))
    return factory(spec)
