"""The shape of ``local``: a provider inside the proxy."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from onwards_py.config.scalars import Duration, Size, Timeout
from onwards_py.config.shape import Number, Shape

Share = Annotated[float, Meta(ge=0, le=1)]
ErrorStatus = Annotated[int, Meta(ge=400, le=599)]
Slots = Annotated[int, Meta(ge=1, le=256)]
Threads = Annotated[int, Meta(ge=1, le=1024)]
Tokens = Annotated[int, Meta(ge=64, le=2**31 - 1)]
Layers = Annotated[int, Meta(ge=0, le=100_000)]
Niceness = Annotated[int, Meta(ge=0, le=19)]


class LocalShape(Shape, frozen=True, kw_only=True):
    """A provider inside the proxy: answers without network or key."""

    engine: Annotated[
        Literal["echo", "llama_cpp", "embedding", "classifier"],
        Meta(description="echo repeats what it is told; the others run a model in a process of its own."),
    ]
    first_token_delay: Annotated[
        Duration | None, Meta(description="echo: wait before the answer begins. Default: 0.")
    ] = None
    token_delay: Annotated[Duration | None, Meta(description="echo: wait between two tokens. Default: 0.")] = None
    error_status: Annotated[ErrorStatus | None, Meta(description="echo: status of injected errors. Default: 500.")] = (
        None
    )
    error_rate: Annotated[
        Share | None, Meta(description="echo: share of requests answered with an error. Default: 0.")
    ] = None
    cut_after: Annotated[Number | None, Meta(description="echo: break streams off after so many tokens.")] = None
    text: Annotated[str | None, Meta(description="echo: say this instead of an echo.")] = None
    model: Annotated[
        str | None,
        Meta(description="A model: its file (relative to this one), or package:NAME for what a Python package ships."),
    ] = None
    load: Annotated[
        Literal["lazy", "eager"] | None,
        Meta(description="A model: load it with the first request, or at the start. Default: lazy."),
    ] = None
    slots: Annotated[Slots | None, Meta(description="A model: requests worked on at one time. Default: 1.")] = None
    queue: Annotated[
        Number | None, Meta(description="A model: requests that may wait; more are answered with 503. Default: 32.")
    ] = None
    threads: Annotated[
        Threads | None, Meta(description="A model: computing threads. Default: all processors but one.")
    ] = None
    context: Annotated[
        Tokens | None,
        Meta(description="llama_cpp: window of each slot, in tokens. Default: the model's, at most 8192."),
    ] = None
    memory: Annotated[
        Size | None,
        Meta(description="A model: bound on the memory of its process, its file not counted. Default: none."),
    ] = None
    gpu_layers: Annotated[Layers | None, Meta(description="llama_cpp: layers to put on a GPU. Default: 0.")] = None
    nice: Annotated[
        Niceness | None, Meta(description="A model: how far its process stands back for others. Default: 5.")
    ] = None
    hang_timeout: Annotated[
        Timeout | None, Meta(description="A model: its process is killed when silent for so long. Default: 10s.")
    ] = None
    load_timeout: Annotated[Timeout | None, Meta(description="A model: how long loading may take. Default: 300s.")] = (
        None
    )
