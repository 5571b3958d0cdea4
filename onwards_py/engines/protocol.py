"""The protocol between the proxy and the process of an engine.

The proxy starts ``python -m onwards_py.engines``, writes a `LaunchSpec` as one line of JSON to its standard input, and
keeps that pipe open: when it closes, for whatever reason, the engine exits at once. Every further line is a `Ping`.
The engine writes one `Report` a line. Requests and responses are HTTP/1.1 over the Unix socket
that the specification names.
"""

from __future__ import annotations

from typing import Literal

import msgspec

EngineName = Literal["llama_cpp", "embedding", "classifier"]


class LaunchSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """The engine to run. ``model``: a path, or ``package:NAME``. ``socket``: the path to listen on.

    ``context``: the context window of each slot in tokens (None: the model's own, at most `DEFAULT_CONTEXT`).
    ``slots``: requests computed at one time. ``threads``: compute threads. ``memory``: limit of the process's own
    memory in bytes (None: no limit). ``nice`` is added to the niceness. ``gpu_layers``: layers on a GPU. ``cache``: the
    folder of converted models.
    """

    engine: EngineName
    model: str
    socket: str
    cache: str
    slots: int = 1
    threads: int = 1
    nice: int = 0
    context: int | None = None
    memory: int | None = None
    gpu_layers: int = 0


DEFAULT_CONTEXT = 8192


class Ping(msgspec.Struct, frozen=True):
    """A liveness check; the reply is a `Pong` with the same number."""

    number: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The model is loaded and the socket listens. ``seconds``: loading time; ``file``: name of the loaded file."""

    seconds: float
    file: str
    bytes: int


class LoadFailed(msgspec.Struct, frozen=True, tag="failed"):
    """Loading failed, and the process exits. ``message`` is the remedy, without paths, as clients may see it."""

    message: str


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """``stuck``: seconds since a stop was requested that a computation has not followed; 0 if there is none."""

    number: int
    stuck: float


class ComputeCost(msgspec.Struct, frozen=True, tag="done"):
    """The cost of one request: prompt and completion tokens, and the seconds to compute each."""

    prompt_tokens: int
    completion_tokens: int
    prompt_seconds: float
    completion_seconds: float


Report = Ready | LoadFailed | Pong | ComputeCost
