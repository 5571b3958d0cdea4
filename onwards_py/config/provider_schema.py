"""The shape of a provider in the file, and of what is said above it for several.

Absent and ``null`` mean the same, None; defaults are those of the compiled dataclasses. Every key has a description,
which editors show.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from onwards_py.config.limit_schema import Limited
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
from onwards_py.config.translate_schema import Dialect, TranslateShape
from onwards_py.config.urls import ProxyUrl, Url
from onwards_py.model.provider import HealthCheck, Mode, Provider, Timeouts

URL = "Where an OpenAI-compatible API is; paths of requests are appended, without doubling what they have in common."
BASE_URL = "Instead of url: the base URL that SDKs are given; it takes the place of the /v1 of requests."

Weight = Annotated[int, Meta(ge=0, le=2**32 - 1)]


class TlsShape(Shape, frozen=True, kw_only=True):
    """TLS toward the provider."""

    merged_by_key: ClassVar[bool] = True

    ca_file: Annotated[str | None, Meta(description="PEM file that replaces the system's trust store.")] = None
    verify: Annotated[bool | None, Meta(description="Check the provider's certificate. Default: true.")] = None


class OpenResponsesShape(Shape, frozen=True, kw_only=True):
    """Other spellings of open_responses_mode."""

    mode: Annotated[Mode | None, Meta(description="As open_responses_mode.")] = None
    adapter: Annotated[bool | None, Meta(description="true: translate; false: native.")] = None


class Shared(Limited, frozen=True, kw_only=True):
    """What can be set for a provider, and above it for all providers of a target or of the file."""

    flattened: ClassVar[tuple[type, ...]] = (Provider,)

    onwards_key: Annotated[
        ProviderKey | None, Meta(description="Credential for the provider, best as ${VAR} or ${file:/path}.")
    ] = None
    onwards_model: Annotated[
        str | None, Meta(description="What the provider calls the model. Default: as the client wrote it.")
    ] = None
    upstream_auth_header_name: Annotated[
        HeaderName | None, Meta(description="Header of the credential. Default: Authorization.")
    ] = None
    upstream_auth_header_prefix: Annotated[
        HeaderValue | None, Meta(description="Text before the credential. Default: 'Bearer '.")
    ] = None
    query: Annotated[
        dict[ParameterName, ParameterValue] | None,
        Meta(description="Query parameters of every request to the provider, replacing those of that name."),
    ] = None
    response_headers: Annotated[
        dict[HeaderName, HeaderValue] | None, Meta(description="Set on every response, replacing headers of that name.")
    ] = None
    open_responses_mode: Annotated[
        Mode | None, Meta(description="What to do with /v1/responses: native, translate, disabled. Default: native.")
    ] = None
    chat_completions_mode: Annotated[
        Literal["native", "translate"] | None,
        Meta(description="translate: the provider only has the Responses API. Default: native."),
    ] = None
    dialect: Annotated[
        Dialect | None, Meta(description="Whose Chat Completions the provider speaks, for translate. Default: generic.")
    ] = None
    translate: Annotated[TranslateShape | None, Meta(description="Settings of open_responses_mode: translate.")] = None
    open_responses: Annotated[OpenResponsesShape | None, Meta(description="Another spelling of the mode.")] = None
    sanitize_response: Annotated[bool | None, Meta(description="Rebuild responses. Default: false.")] = None
    propagate_trace_context: Annotated[
        bool | None, Meta(description="Forward traceparent and tracestate. Default: as trusted.")
    ] = None
    request_timeout_secs: Annotated[Timeout | None, Meta(description="Another spelling of timeouts.first_byte.")] = None
    timeouts: Annotated[Settings[Timeouts] | None, Meta(description="Bounds on waiting.")] = None
    reasoning_translation: Annotated[Opaque | None, Meta(description="Rewriting of reasoning controls.")] = None
    health_check: Annotated[
        Toggleable[HealthCheck] | None, Meta(description="Ask a provider now and then whether it is well. Default: no.")
    ] = None
    on_large_event: Annotated[
        Literal["pass", "cut"] | None,
        Meta(
            description="What becomes of a native stream with a larger event: pass it in pieces, or cut. Default: pass."
        ),
    ] = None
    tls: Annotated[TlsShape | None, Meta(description="TLS toward the provider.")] = None
    proxy: Annotated[
        ProxyUrl | None,
        Meta(description="HTTP proxy to tunnel through, or direct. Default: HTTPS_PROXY and NO_PROXY, for https."),
    ] = None


class ProviderShape(Shared, frozen=True, kw_only=True):
    """One member of a pool: either url, base_url or local."""

    url: Annotated[Url | None, Meta(description=URL)] = None
    base_url: Annotated[Url | None, Meta(description=BASE_URL)] = None
    local: Annotated[LocalShape | None, Meta(description="A provider inside the proxy instead of a url.")] = None
    name: Annotated[str | None, Meta(description="What logs and metrics call the provider. Default: its host.")] = None
    weight: Annotated[Weight | None, Meta(description="Share of the work; 0 drains. Default: 1.")] = None
