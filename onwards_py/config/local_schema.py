"""The shape of ``local``: a provider inside the proxy."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from onwards_py.config.shape import Shape
from onwards_py.engines.protocol import EngineName
from onwards_py.model.provider import EchoSettings, EngineSettings


class LocalShape(Shape, frozen=True, kw_only=True):
    """A provider inside the proxy, which needs neither network nor key."""

    flattened: ClassVar[tuple[type, ...]] = (EchoSettings, EngineSettings)

    engine: Annotated[
        Literal["echo", EngineName],
        Meta(description="echo repeats the request's text; the others run a model in a separate process."),
    ]
    model: Annotated[
        str | None,
        Meta(
            description="A model: its path (relative to this file), or package:NAME for the model in a Python package."
        ),
    ] = None
    load: Annotated[
        Literal["lazy", "eager"] | None,
        Meta(description="A model: load it with the first request, or at the start. Default: lazy."),
    ] = None
