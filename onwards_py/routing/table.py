"""The route table: from a model name and a principal to a route or an error.

Built once per reload; a request looks up one name and then follows references.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from onwards_py.auth import Principal
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.limits.admission import LimiterSet
from onwards_py.limits.counters import Limiter
from onwards_py.model.pool import Pool
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.budget import RetryBudget
from onwards_py.routing.rules import first_match, may_use


@dataclass(frozen=True, slots=True)
class LivePool:
    """A pool with the live state of itself and its endpoints.

    ``single``: the only endpoint, if there is neither a choice nor a fallback. ``classifier_route``: a classifier
    chooses another target. ``retry_budget`` None: unbounded; ``hedge_budget`` None: no hedging.
    """

    pool: Pool
    limiter: Limiter
    endpoints: tuple[Endpoint, ...]
    single: Endpoint | None = None
    classifier_route: ClassifierRoute | None = None
    retry_budget: RetryBudget | None = None
    hedge_budget: RetryBudget | None = None

    @property
    def limiters(self) -> tuple[Limiter, ...]:
        """The limiters that must admit an exchange: that of the target, and that of a single endpoint."""
        return (self.limiter,) if self.single is None else (self.limiter, self.single.limiter)

    @property
    def is_servable(self) -> bool:
        """False for a target without providers."""
        return bool(self.endpoints) or self.classifier_route is not None


@dataclass(frozen=True, slots=True)
class ClassifierRoute:
    """``RouteBy`` with resolved targets."""

    classifier: LivePool
    labels: Mapping[str, LivePool]
    default: LivePool
    timeout: float


class Route(msgspec.Struct, frozen=True):
    """The target of an exchange, and the limiters that must admit it together. ``redirected``: by a routing rule of
    the requested target, so that the provider needs another model name."""

    target: LivePool
    limiter_set: LimiterSet
    redirected: bool = False

    @property
    def limiters(self) -> tuple[Limiter, ...]:
        """The limiters."""
        return self.limiter_set.limiters


class KeyLimiterLookup(Protocol):
    """Finds the limiter of a key."""

    def get(self, digest: bytes, /) -> Limiter | None:
        """By the digest of its token; None if the key has no limits."""
        ...


class RouteTable:
    """Targets by name. ``keys``: the limiters of keys with limits."""

    def __init__(self, targets: Mapping[str, LivePool], keys: KeyLimiterLookup) -> None:
        self._targets = targets
        self._keys = keys
        closed = [target.pool.keys for target in targets.values() if target.pool.keys is not None]
        self._has_closed = bool(closed)
        self._accepted = frozenset[bytes]().union(*closed)
        self.accepted_digests: frozenset[bytes | None] | None = None
        """The digests of all accepted tokens; None: some target is open to all, or there are no targets."""
        if closed and len(closed) == len(targets):
            self.accepted_digests = frozenset[bytes | None](self._accepted)
        plain = {
            name: Route(target, LimiterSet.of(target.limiters))
            for name, target in targets.items()
            if target.is_servable
        }
        self._without_token = {name: route for name, route in plain.items() if route.target.pool.keys is None}
        self._without_rules = {name: route for name, route in plain.items() if not route.target.pool.rules}

    def resolve(self, model: str, principal: Principal) -> Route:
        """The route, or ProxyError: 401, 403, 404, or 503 for a target without providers.

        After a redirect, the limits of its destination apply, and not those of the requested target.
        """
        digest = principal.digest
        if digest is None:
            open_route = self._without_token.get(model)
            return self._resolve_fully(model, principal) if open_route is None else open_route
        route = self._without_rules.get(model)
        if route is None or not may_use(route.target.pool, principal):
            route = self._resolve_fully(model, principal)
        key = self._keys.get(digest)
        return route if key is None else Route(route.target, LimiterSet.of((*route.limiters, key)), route.redirected)

    def _resolve_fully(self, model: str, principal: Principal) -> Route:
        """The route where rules apply, or the error. Without the limiter of the key."""
        asked = self._targets.get(model)
        if asked is None:
            raise self._unknown(model, principal)
        target = self._apply_rules(asked, principal)
        if target is None:
            raise access_error(principal)
        if not target.is_servable:
            raise ProxyError(ErrorKind.NO_PROVIDER)
        return Route(target, LimiterSet.of(target.limiters), target is not asked)

    def find(self, model: str) -> LivePool | None:
        """The target of this name, without access control."""
        return self._targets.get(model)

    def list_models(self, principal: Principal) -> list[str]:
        """Names of the targets that the principal may use, in the order of the file."""
        return [name for name, target in self._targets.items() if self._apply_rules(target, principal) is not None]

    def may_use_any(self, principal: Principal) -> bool:
        """True if the principal may use at least one target."""
        return any(self._apply_rules(target, principal) is not None for target in self._targets.values())

    @property
    def targets(self) -> list[LivePool]:
        return list(self._targets.values())

    def _apply_rules(self, asked: LivePool, principal: Principal) -> LivePool | None:
        """The target after the rules of ``asked``: itself, or the destination of a redirect. None: access denied.

        Rules apply to callers with a token. There is one redirect at most: the rules of its destination do not apply,
        its keys do.
        """
        if not may_use(asked.pool, principal):
            return None
        if not asked.pool.rules or principal.digest is None:
            return asked
        rule = first_match(asked.pool.rules, _labels(principal))
        if rule is None:
            return asked
        target = None if rule.redirect is None else self._targets.get(rule.redirect)
        return target if target is not None and may_use(target.pool, principal) else None

    def _unknown(self, model: str, principal: Principal) -> ProxyError:
        """If at least one target is closed, a caller without an accepted key gets the same error for an unknown
        model as for a closed one, so that names cannot be enumerated."""
        if self._has_closed and principal.digest not in self._accepted:
            return access_error(principal)
        message = f"The model `{model[:200]}` does not exist or you do not have access to it."
        return ProxyError(ErrorKind.MODEL_NOT_FOUND, message, param="model")


def check_access(target: LivePool, principal: Principal) -> None:
    """Check that a caller may use ``target``, which a classifier chose: by its keys and its denying rules. Raises
    ProxyError."""
    if not may_use(target.pool, principal) or _denied(target.pool, principal):
        raise access_error(principal)
    if not target.is_servable:
        raise ProxyError(ErrorKind.NO_PROVIDER)


def _denied(pool: Pool, principal: Principal) -> bool:
    if not pool.rules or principal.digest is None:
        return False
    rule = first_match(pool.rules, _labels(principal))
    return rule is not None and rule.redirect is None


def _labels(principal: Principal) -> Mapping[str, str]:
    return {} if principal.definition is None else principal.definition.labels


def access_error(principal: Principal) -> ProxyError:
    """401 without a token, 403 with one that is not accepted."""
    return ProxyError(ErrorKind.UNAUTHENTICATED if principal.digest is None else ErrorKind.FORBIDDEN)
