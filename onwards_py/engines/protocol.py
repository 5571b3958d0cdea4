"""What the proxy and an engine's process say to each other.

The proxy starts ``python -m onwards_py.engines``, writes a `LaunchSpec` as one line of JSON to its standard input, and
keeps that pipe open: when it closes, however the proxy ended, the engine ends at once. Every further line is a `Ping`.
The engine writes one `Report` a line. Requests and responses are HTTP/1.1 over the Unix socket
that the specification names.
"""

from __future__ import annotations

from typing import Literal

import msgspec

EngineName = Literal["llama_cpp", "embedding", "classifier"]


class LaunchSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to run. ``model`` is a path, or ``package:NAME``; ``socket`` is where to listen.

    ``context`` is the window in tokens of each slot (None: the model's own, at most `DEFAULT_CONTEXT`), ``slots`` how
    many requests are worked on at one time, ``threads`` how many threads compute. ``memory`` bounds the process's own
    memory in bytes (None: no bound). ``nice`` is added to the scheduling niceness. ``gpu_layers`` 0: none.
    ``cache`` is the folder for files that are made once from a model.
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
    """Are you there? Answered with a `Pong` of the same number."""

    number: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The model is loaded and the socket listens. ``seconds``: what loading took; ``file`` what was loaded."""

    seconds: float
    file: str
    bytes: int


class LoadFailed(msgspec.Struct, frozen=True, tag="failed"):
    """It cannot work; the process ends. ``message`` says what to do, and may be shown to clients: no paths."""

    message: str


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """``stuck``: for how many seconds a computation has not reacted to being stopped; 0 if all is well."""

    number: int
    stuck: float


class ComputeCost(msgspec.Struct, frozen=True, tag="done"):
    """A request was worked on. Tokens read and made, and the seconds of computing that each took."""

    prompt_tokens: int
    completion_tokens: int
    prompt_seconds: float
    completion_seconds: float


Report = Ready | LoadFailed | Pong | ComputeCost
