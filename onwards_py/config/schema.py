"""The shape of the file, as typed code: read by the decoder, and by the generator of the JSON Schema."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from onwards_py.config.limit_schema import Limited
from onwards_py.config.local_schema import LocalShape
from onwards_py.config.provider_schema import BASE_URL, URL, ProviderShape, Shared, Weight
from onwards_py.config.resilience_schema import AffinityShape, EjectionShape, FallbackShape, HedgeShape
from onwards_py.config.scalars import ClientKey, Duration, HostPattern, KeyDigest, ListenHost, Size, Timeout
from onwards_py.config.shape import Count, Number, Shape
from onwards_py.config.urls import Url
from onwards_py.model.policies import Strategy

_KEYS = "Who may use the target: keys, or ids of key_definitions. An empty list lets nobody in."


class RoutingActionShape(Shape, frozen=True, kw_only=True):
    """What a routing rule does."""

    type: Annotated[Literal["deny", "redirect"], Meta(description="Refuse, or use another target.")]
    target: Annotated[str | None, Meta(description="The target to redirect to.")] = None


class RoutingRuleShape(Shape, frozen=True, kw_only=True):
    """A rule on the labels of the presented key."""

    match_labels: Annotated[dict[str, str], Meta(description="Labels that must all be equal.")]
    action: Annotated[RoutingActionShape, Meta(description="What to do with a match.")]


class ListedShape(ProviderShape, frozen=True, kw_only=True):
    """A target in the legacy list form: providers, of which the first one's keys count."""

    keys: Annotated[list[ClientKey] | None, Meta(description=_KEYS)] = None


class DefaultsShape(Shared, frozen=True, kw_only=True):
    """What can be said of a target, and above it for all targets."""

    keys: Annotated[
        list[ClientKey] | None,
        Meta(description=_KEYS),
    ] = None
    strategy: Annotated[Strategy | None, Meta(description="How providers are ordered. Default: weighted_random.")] = (
        None
    )
    fallback: Annotated[FallbackShape | None, Meta(description="When another attempt is made.")] = None
    affinity: Annotated[AffinityShape | None, Meta(description="Keep conversations at one provider.")] = None
    hedge: Annotated[HedgeShape | None, Meta(description="Ask a second provider when the first is slow.")] = None
    ejection: Annotated[
        EjectionShape | None, Meta(description="Leave out failing providers of a pool of several. On by default.")
    ] = None
    routing_rules: Annotated[
        list[RoutingRuleShape] | None, Meta(description="Rules on key labels; the first that matches counts.")
    ] = None
    max_body: Annotated[Size | None, Meta(description="Largest request body. Default: 64MiB.")] = None


class RouteByShape(Shape, frozen=True, kw_only=True):
    """Another target is chosen by what a classifier says of the last user message."""

    classifier: Annotated[str, Meta(description="The target that is asked for a label.")]
    labels: Annotated[dict[str, str], Meta(description="Which target each label leads to.")]
    default: Annotated[str, Meta(description="The target for other labels, and when the classifier fails or is slow.")]
    timeout: Annotated[Timeout | None, Meta(description="How long the classifier may take. Default: 100ms.")] = None


class TargetShape(DefaultsShape, frozen=True, kw_only=True):
    """A target: url, base_url or local for a single provider, providers for a pool, or route_by to choose another
    target."""

    url: Annotated[Url | None, Meta(description=URL)] = None
    base_url: Annotated[Url | None, Meta(description=BASE_URL)] = None
    local: Annotated[LocalShape | None, Meta(description="A provider inside the proxy instead of a url.")] = None
    name: Annotated[str | None, Meta(description="What logs and metrics call the provider. Default: its host.")] = None
    weight: Annotated[Weight | None, Meta(description="Share of the work; 0 drains. Default: 1.")] = None
    providers: Annotated[list[ProviderShape] | None, Meta(description="The members of a pool.")] = None
    route_by: Annotated[
        RouteByShape | None, Meta(description="Choose another target by the label that a classifier gives.")
    ] = None


class KeyDefinitionShape(Limited, frozen=True, kw_only=True):
    """A key with a name: key or key_sha256, and what holds for its bearer."""

    one_of: ClassVar[tuple[str, ...]] = ("key", "key_sha256")

    key: Annotated[ClientKey | None, Meta(description="The token that the client presents.")] = None
    key_sha256: Annotated[
        KeyDigest | None, Meta(description="Instead of key: the SHA-256 digest of the token, in hexadecimal digits.")
    ] = None
    labels: Annotated[dict[str, str] | None, Meta(description="What routing rules match on.")] = None
    allowed_targets: Annotated[
        list[str] | None, Meta(description="The only targets that this key may use; it need not be in their keys.")
    ] = None


class AuthShape(Shape, frozen=True, kw_only=True):
    """Who may come in."""

    global_keys: Annotated[
        list[ClientKey] | None, Meta(description="Keys, or ids of key_definitions, that every target accepts.")
    ] = None
    key_definitions: Annotated[
        dict[str, KeyDefinitionShape] | None, Meta(description="Keys with names, limits and labels, by id.")
    ] = None


class HttpPoolShape(Shape, frozen=True, kw_only=True):
    """Kept upstream connections."""

    max_idle_per_host: Annotated[Number | None, Meta(description="Idle ones kept. Default: 1024.")] = None
    idle_timeout_secs: Annotated[Duration | None, Meta(description="For how long they are kept. Default: 90s.")] = None


class ServerShape(Shape, frozen=True, kw_only=True):
    """Address and bounds of the listener; changes need a restart."""

    host: Annotated[
        ListenHost | None,
        Meta(description="Address to listen on. Default: 127.0.0.1 if no target asks for a key, else 0.0.0.0."),
    ] = None
    max_connections: Annotated[Count | None, Meta(description="Client connections. Default: 10000.")] = None
    max_head_bytes: Annotated[Size | None, Meta(description="Size of a request head. Default: 64KiB.")] = None
    max_header_count: Annotated[Count | None, Meta(description="Header fields of a request. Default: 128.")] = None
    max_target_bytes: Annotated[Size | None, Meta(description="Size of a request target. Default: 16KiB.")] = None
    max_buffered: Annotated[Size | None, Meta(description="All buffered request bodies together. Default: 1GiB.")] = (
        None
    )
    max_pipelined: Annotated[Count | None, Meta(description="Requests waiting on one connection. Default: 16.")] = None
    header_timeout: Annotated[Timeout | None, Meta(description="For a request head to arrive. Default: 30s.")] = None
    body_timeout: Annotated[Timeout | None, Meta(description="For a request body to arrive. Default: 120s.")] = None
    send_timeout: Annotated[
        Timeout | None,
        Meta(description="A client that takes nothing of what is sent for so long is cut. Default: 60s."),
    ] = None
    keepalive_timeout: Annotated[
        Timeout | None, Meta(description="Idle client connections are kept so long. Default: 75s.")
    ] = None
    drain_timeout: Annotated[
        Duration | None, Meta(description="For exchanges to finish at shutdown. Default: 600s.")
    ] = None


class AdminShape(Shape, frozen=True, kw_only=True):
    """The port of metrics and health."""

    host: Annotated[
        ListenHost | None, Meta(description="Address to listen on; changes need a restart. Default: 127.0.0.1.")
    ] = None
    allowed_hosts: Annotated[
        list[HostPattern] | None,
        Meta(description="Names in Host besides localhost and IP addresses; *.example.com for all below, * for any."),
    ] = None


class FileShape(Shape, frozen=True, kw_only=True):
    """targets.yaml. Top-level keys that begin with x- are ignored: a place for anchors."""

    targets: Annotated[
        dict[str, TargetShape | list[ListedShape]], Meta(description="What clients put in 'model', and who serves it.")
    ]
    defaults: Annotated[DefaultsShape | None, Meta(description="Merged under every target.")] = None
    auth: Annotated[AuthShape | None, Meta(description="Keys for all targets, and what is known about keys.")] = None
    http_pool: Annotated[HttpPoolShape | None, Meta(description="Kept upstream connections.")] = None
    server: Annotated[ServerShape | None, Meta(description="Address and bounds of the listener.")] = None
    admin: Annotated[AdminShape | None, Meta(description="The port of metrics and health.")] = None
    strict_mode: Annotated[bool | None, Meta(description="Validate requests by schema. Default: false.")] = None
