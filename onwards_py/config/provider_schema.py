"""The shape of a provider in the file, and of the keys that it inherits.

Absent and ``null`` mean the same, None; defaults are those of the compiled dataclasses. Every key has a description,
which editors show.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from onwards_py.config.limit_schema import LimitsShape
from onwards_py.config.local_schema import LocalShape
from onwards_py.config.scalars import (
    HeaderName,
    HeaderValue,
    Opaque,
    ParameterName,
    ParameterValue,
    ProviderKey,
    Timeout,
)
from onwards_py.config.shape import Settings, Shape, Toggleable
from onwards_py.config.translate_schema import Preset, TranslateShape
from onwards_py.config.urls import ProxyUrl, Url
from onwards_py.model.provider import HealthCheck, Provider, Timeouts
from onwards_py.wire.api import Api

URL = "URL of an OpenAI-compatible API; request paths are appended, without doubling common segments."
BASE_URL = "Instead of url: the provider's base URL for SDKs; it replaces the /v1 of request paths."

Weight = Annotated[int, Meta(ge=0, le=2**32 - 1)]


class TlsShape(Shape, frozen=True, kw_only=True):
    """TLS toward the provider."""

    merged_by_key: ClassVar[bool] = True

    ca_file: Annotated[str | None, Meta(description="PEM file that replaces the system's trust store.")] = None
    verify: Annotated[bool | None, Meta(description="Check the provider's certificate. Default: true.")] = None


class ResponsesMode(Enum):
    """How requests for the Responses API are handled (``open_responses_mode``)."""

    NATIVE = "native"
    TRANSLATE = "translate"
    DISABLED = "disabled"


class OpenResponsesShape(Shape, frozen=True, kw_only=True):
    """Other spellings of open_responses_mode."""

    mode: Annotated[ResponsesMode | None, Meta(description="The same as open_responses_mode.")] = None
    adapter: Annotated[bool | None, Meta(description="true: translate; false: native.")] = None


class ProviderSettingsShape(LimitsShape, frozen=True, kw_only=True):
    """Settings of a provider, which a target or the file can set for all their providers."""

    flattened: ClassVar[tuple[type, ...]] = (Provider,)

    onwards_key: Annotated[
        ProviderKey | None, Meta(description="Credential for the provider, preferably as ${VAR} or ${file:/path}.")
    ] = None
    onwards_model: Annotated[
        str | None, Meta(description="The provider's name of the model. Default: the client's.")
    ] = None
    upstream_auth_header_name: Annotated[
        HeaderName | None, Meta(description="Header field of the credential. Default: Authorization.")
    ] = None
    upstream_auth_header_prefix: Annotated[
        HeaderValue | None, Meta(description="Text before the credential. Default: 'Bearer '.")
    ] = None
    query: Annotated[
        dict[ParameterName, ParameterValue] | None,
        Meta(
            description="Query parameters of every request to the provider; they replace the client's of the same name."
        ),
    ] = None
    response_headers: Annotated[
        dict[HeaderName, HeaderValue] | None,
        Meta(description="Header fields of every response; they replace the provider's of the same name."),
    ] = None
    apis: Annotated[
        list[Api] | None,
        Meta(
            description="APIs that the provider implements. A request in another one is translated if possible, else"
            " rejected. Default: all."
        ),
    ] = None
    open_responses_mode: Annotated[
        ResponsesMode | None,
        Meta(description="Handling of /v1/responses: native, translate, disabled. Default: as apis."),
    ] = None
    chat_completions_mode: Annotated[
        Literal["native", "translate"] | None,
        Meta(description="translate: the provider implements only the Responses API. Default: as apis."),
    ] = None
    preset: Annotated[
        Preset | None, Meta(description="The provider's variant of Chat Completions, for translate. Default: generic.")
    ] = None
    dialect: Annotated[Preset | None, Meta(description="Alternative to preset.")] = None
    translate: Annotated[TranslateShape | None, Meta(description="Settings of translation.")] = None
    open_responses: Annotated[OpenResponsesShape | None, Meta(description="Alternative to open_responses_mode.")] = None
    sanitize_response: Annotated[bool | None, Meta(description="Rebuild responses. Default: false.")] = None
    propagate_trace_context: Annotated[
        bool | None, Meta(description="Forward traceparent and tracestate. Default: as trusted.")
    ] = None
    request_timeout_secs: Annotated[Timeout | None, Meta(description="Alternative to timeouts.first_byte.")] = None
    timeouts: Annotated[Settings[Timeouts] | None, Meta(description="Timeouts.")] = None
    reasoning_translation: Annotated[Opaque | None, Meta(description="Rewriting of reasoning controls.")] = None
    health_check: Annotated[
        Toggleable[HealthCheck] | None, Meta(description="Active health checks of a provider. Default: off.")
    ] = None
    on_large_event: Annotated[
        Literal["pass", "cut"] | None,
        Meta(
            description="Effect of a larger event in a native stream: pass it in pieces, or cut the stream. "
            "Default: pass."
        ),
    ] = None
    tls: Annotated[TlsShape | None, Meta(description="TLS toward the provider.")] = None
    proxy: Annotated[
        ProxyUrl | None,
        Meta(description="HTTP proxy to tunnel through, or direct. Default: HTTPS_PROXY and NO_PROXY, for https."),
    ] = None


class ProviderShape(ProviderSettingsShape, frozen=True, kw_only=True):
    """One member of a pool: either url, base_url or local."""

    url: Annotated[Url | None, Meta(description=URL)] = None
    base_url: Annotated[Url | None, Meta(description=BASE_URL)] = None
    local: Annotated[LocalShape | None, Meta(description="Instead of url: a provider inside the proxy.")] = None
    name: Annotated[str | None, Meta(description="Name of the provider in logs and metrics. Default: its host.")] = None
    weight: Annotated[Weight | None, Meta(description="Relative share of the load; 0 drains. Default: 1.")] = None
