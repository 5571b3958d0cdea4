"""The shape of ``translate``: how requests and answers are translated between Responses and Chat Completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from onwards_py.config.scalars import JsonObject, SealKey
from onwards_py.config.shape import Shape
from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral.policy import OnUnsupported, Policy
from onwards_py.transcode.neutral.quirks import Quirks
from onwards_py.transcode.neutral.settings import TranslateSettings

if TYPE_CHECKING:
    Preset = str
else:
    Preset = Literal[tuple(PRESETS)]


class QuirksShape(Shape, frozen=True, kw_only=True):
    """Single deviations from the preset of a provider."""

    merged_by_key: ClassVar[bool] = True
    flattened: ClassVar[tuple[type, ...]] = (Quirks,)

    call_stand_in: Annotated[JsonObject | None, Meta(description="Alternative to call_placeholder.")] = None


class TranslateShape(Shape, frozen=True, kw_only=True):
    """Settings of open_responses_mode: translate."""

    merged_by_key: ClassVar[bool] = True
    flattened: ClassVar[tuple[type, ...]] = (Policy, TranslateSettings)

    on_unsupported: Annotated[
        OnUnsupported | dict[str, OnUnsupported] | None,
        Meta(
            description="Fields that a provider does not support: reject or drop; also by path of single fields, "
            "with default for all others. Default: reject."
        ),
    ] = None
    profile: Annotated[
        Literal["auto", "openresponses", "openai"] | None,
        Meta(description="Schema of the response. Default: auto, by the request."),
    ] = None
    reasoning_keys: Annotated[
        list[SealKey] | None,
        Meta(description="Secrets that encrypt reasoning; the first one encrypts, all decrypt. Default: none."),
    ] = None
    quirks: Annotated[QuirksShape | None, Meta(description="Differences from the preset.")] = None
