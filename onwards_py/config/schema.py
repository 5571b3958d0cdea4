"""The shape of the file as types, for the decoder and for the generator of the JSON Schema."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from onwards_py.config.limit_schema import LimitsShape
from onwards_py.config.local_schema import LocalShape
from onwards_py.config.provider_schema import BASE_URL, URL, ProviderSettingsShape, ProviderShape, Weight
from onwards_py.config.resilience_schema import FallbackShape
from onwards_py.config.scalars import ClientKey, KeyDigest
from onwards_py.config.shape import Settings, Shape, Toggleable
from onwards_py.config.urls import Url
from onwards_py.model.policies import Affinity, EjectionPolicy, HedgePolicy, RouteBy
from onwards_py.model.pool import Pool
from onwards_py.model.provider import Provider
from onwards_py.model.snapshot import AdminSettings, HttpPoolSettings, ServerSettings

_KEYS = "Accepted keys: keys, or ids of key_definitions. An empty list accepts no key."


class RoutingActionShape(Shape, frozen=True, kw_only=True):
    """The action of a routing rule."""

    type: Annotated[Literal["deny", "redirect"], Meta(description="Reject, or use another target.")]
    target: Annotated[str | None, Meta(description="The target to redirect to.")] = None


class RoutingRuleShape(Shape, frozen=True, kw_only=True):
    """A rule on the labels of the client's key."""

    match_labels: Annotated[dict[str, str], Meta(description="Labels that must all match.")]
    action: Annotated[RoutingActionShape, Meta(description="The effect of a match.")]


class ListedShape(ProviderShape, frozen=True, kw_only=True):
    """A target in the legacy list form: a list of providers, with the keys of the first one."""

    keys: Annotated[list[ClientKey] | None, Meta(description=_KEYS)] = None


class DefaultsShape(ProviderSettingsShape, frozen=True, kw_only=True):
    """Settings of a target, which the file can set for all targets."""

    flattened: ClassVar[tuple[type, ...]] = (Provider, Pool)

    keys: Annotated[
        list[ClientKey] | None,
        Meta(description=_KEYS),
    ] = None
    fallback: Annotated[FallbackShape | None, Meta(description="Conditions for further attempts.")] = None
    affinity: Annotated[Toggleable[Affinity] | None, Meta(description="Keep conversations at one provider.")] = None
    hedge: Annotated[
        Toggleable[HedgePolicy] | None,
        Meta(description="Send a request to a second provider if the first one is slow."),
    ] = None
    ejection: Annotated[
        Toggleable[EjectionPolicy] | None,
        Meta(description="Eject failing providers of a pool of several. On by default."),
    ] = None
    routing_rules: Annotated[
        list[RoutingRuleShape] | None, Meta(description="Rules on key labels; the first match is applied.")
    ] = None


class TargetShape(DefaultsShape, frozen=True, kw_only=True):
    """A target: url, base_url or local for a single provider, providers for a pool, or route_by to choose another
    target."""

    url: Annotated[Url | None, Meta(description=URL)] = None
    base_url: Annotated[Url | None, Meta(description=BASE_URL)] = None
    local: Annotated[LocalShape | None, Meta(description="Instead of url: a provider inside the proxy.")] = None
    name: Annotated[str | None, Meta(description="Name of the provider in logs and metrics. Default: its host.")] = None
    weight: Annotated[Weight | None, Meta(description="Relative share of the load; 0 drains. Default: 1.")] = None
    providers: Annotated[list[ProviderShape] | None, Meta(description="The providers of a pool.")] = None
    route_by: Annotated[
        Settings[RouteBy] | None, Meta(description="Select another target by a classifier's label.")
    ] = None


class KeyDefinitionShape(LimitsShape, frozen=True, kw_only=True):
    """A key with an id: key or key_sha256, with its limits, labels and targets."""

    one_of: ClassVar[tuple[str, ...]] = ("key", "key_sha256")

    key: Annotated[ClientKey | None, Meta(description="The token that the client presents.")] = None
    key_sha256: Annotated[
        KeyDigest | None, Meta(description="Instead of key: the SHA-256 digest of the token, in hexadecimal digits.")
    ] = None
    labels: Annotated[dict[str, str] | None, Meta(description="Labels for routing rules.")] = None
    allowed_targets: Annotated[
        list[str] | None, Meta(description="The only targets that this key may use; their keys need not contain it.")
    ] = None


class AuthShape(Shape, frozen=True, kw_only=True):
    """Client keys."""

    global_keys: Annotated[
        list[ClientKey] | None, Meta(description="Keys, or ids of key_definitions, that every target accepts.")
    ] = None
    key_definitions: Annotated[
        dict[str, KeyDefinitionShape] | None, Meta(description="Keys with names, limits and labels, by id.")
    ] = None


class FileShape(Shape, frozen=True, kw_only=True):
    """targets.yaml. Top-level keys that begin with x- are ignored: a place for anchors."""

    targets: Annotated[
        dict[str, TargetShape | list[ListedShape]],
        Meta(description="Models that clients can request, and their providers."),
    ]
    defaults: Annotated[DefaultsShape | None, Meta(description="Default settings of all targets.")] = None
    auth: Annotated[AuthShape | None, Meta(description="Keys for all targets, and key definitions.")] = None
    http_pool: Annotated[Settings[HttpPoolSettings] | None, Meta(description="Idle connections to providers.")] = None
    server: Annotated[Settings[ServerSettings] | None, Meta(description="Address and bounds of the listener.")] = None
    admin: Annotated[Settings[AdminSettings] | None, Meta(description="The port for metrics and health.")] = None
    strict_mode: Annotated[bool | None, Meta(description="Validate requests by schema. Default: false.")] = None
