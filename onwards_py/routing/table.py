"""The route table: model name and principal in, route or refusal out.

Made once per reload; a request looks up one name and then follows references.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from onwards_py.auth import Principal
from onwards_py.errors import Kind, ProxyError
from onwards_py.limits.counters import Limiter
from onwards_py.routing.balancer import Member
from onwards_py.routing.budget import RetryBudget
from onwards_py.routing.model import Pool


@dataclass(frozen=True, slots=True)
class LivePool:
    """A pool with the live state of itself and its members. ``sole``: the only member, where nothing is to be chosen
    and nothing to fall back to. ``leads``: another target answers. ``budget``: that of further attempts (None: no such
    bound), ``hedges``: that of hedged ones (None: no hedging). ``plain``: nothing is known of the members but their
    limiters, and nothing is counted but what is in flight."""

    pool: Pool
    limiter: Limiter
    members: tuple[Member, ...]
    sole: Member | None = None
    leads: Leads | None = None
    budget: RetryBudget | None = None
    hedges: RetryBudget | None = None
    plain: bool = True

    @property
    def answers(self) -> bool:
        """False for a target without providers."""
        return bool(self.members) or self.leads is not None


@dataclass(frozen=True, slots=True)
class Leads:
    """``RouteBy`` with the targets themselves."""

    classifier: LivePool
    labels: Mapping[str, LivePool]
    default: LivePool
    timeout: float


class Route(msgspec.Struct, frozen=True):
    """Where an exchange goes, and the limiters that must grant it."""

    target: LivePool
    limiters: tuple[Limiter, ...]


class RouteTable:
    """Targets by name. ``keys`` are the limiters of tokens that have limits, by digest."""

    def __init__(self, targets: Mapping[str, LivePool], keys: Mapping[bytes, Limiter]) -> None:
        self._targets = targets
        self._keys = keys
        closed = [target.pool.keys for target in targets.values() if target.pool.keys is not None]
        self._has_closed = bool(closed)
        self._accepted = frozenset[bytes]().union(*closed)
        self._open_routes = {
            name: Route(target, (target.limiter,))
            for name, target in targets.items()
            if target.pool.keys is None and target.answers
        }

    def resolve(self, model: str, principal: Principal) -> Route:
        """The route, or ProxyError."""
        if not self._keys:
            route = self._open_routes.get(model)
            if route is not None:
                return route
        target = self._targets.get(model)
        if target is None:
            raise self._unknown(model, principal)
        if not _may_use(target.pool, principal):
            raise refusal(principal)
        if not target.answers:
            raise ProxyError(Kind.NO_PROVIDER)
        key = self._keys.get(principal.digest) if self._keys and principal.digest is not None else None
        return Route(target, (target.limiter,) if key is None else (target.limiter, key))

    def find(self, model: str) -> LivePool | None:
        """The target of this name, whoever asks."""
        return self._targets.get(model)

    def visible(self, principal: Principal) -> list[str]:
        """Names of the targets that this principal may use, in the order of the file."""
        return [name for name, target in self._targets.items() if _may_use(target.pool, principal)]

    @property
    def targets(self) -> list[LivePool]:
        return list(self._targets.values())

    def _unknown(self, model: str, principal: Principal) -> ProxyError:
        """As soon as one target is closed, a caller without an accepted key gets the same answer for a
        missing model as for a closed one: names are not to be found out by asking."""
        if self._has_closed and principal.digest not in self._accepted:
            return refusal(principal)
        message = f"The model `{model[:200]}` does not exist or you do not have access to it."
        return ProxyError(Kind.MODEL_NOT_FOUND, message, param="model")


def enter(target: LivePool, principal: Principal) -> None:
    """Check that a caller who is led to ``target`` may use it, by its own keys. Raises ProxyError."""
    if not _may_use(target.pool, principal):
        raise refusal(principal)
    if not target.answers:
        raise ProxyError(Kind.NO_PROVIDER)


def _may_use(pool: Pool, principal: Principal) -> bool:
    return pool.keys is None or principal.digest in pool.keys


def refusal(principal: Principal) -> ProxyError:
    """401 for who shows no token, 403 for who shows one that is not accepted."""
    return ProxyError(Kind.UNAUTHENTICATED if principal.digest is None else Kind.FORBIDDEN)
