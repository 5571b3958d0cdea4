"""State that survives a reload: counters by stable identity, not by object.

A snapshot is compiled against this state once per reload; requests use direct references.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from onwards_py.auth import Principal, identify
from onwards_py.limits.counters import Limiter
from onwards_py.limits.wait_queue import Schedule, run_now
from onwards_py.messages import Clock
from onwards_py.model.limits import NO_LIMITS, Limits
from onwards_py.model.policies import RetryBudgetPolicy, Strategy
from onwards_py.model.pool import KeyDefinition, Pool
from onwards_py.model.provider import Provider
from onwards_py.model.snapshot import Snapshot
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.budget import RetryBudget
from onwards_py.routing.health import Health
from onwards_py.routing.latency import PeakEwma
from onwards_py.routing.table import ClassifierRoute, LivePool, Route, RouteTable
from onwards_py.wire.request_head import RequestHead


@dataclass(slots=True)
class _Observed:
    """Health, latency and budgets by identity. A reload drops those that the new configuration does not use."""

    healths: dict[tuple[str, ...], Health] = field(default_factory=dict)
    latencies: dict[tuple[str, ...], PeakEwma] = field(default_factory=dict)
    budgets: dict[tuple[str, ...], RetryBudget] = field(default_factory=dict)


class LiveState:
    """Limiters of pools, providers and keys. ``clock`` returns monotonic seconds; ``schedule`` calls a function soon,
    to admit exchanges from a queue."""

    def __init__(self, clock: Clock, schedule: Schedule = run_now) -> None:
        self._clock = clock
        self._schedule = schedule
        self._limiters: dict[tuple[str, ...], Limiter] = {}
        self._observed = _Observed()
        self._keys = KeyLimiters({}, {}, self._new_limiter)

    def compile(self, snapshot: Snapshot) -> RouteTable:
        """The route table of ``snapshot``, with the existing counters of equal identity."""
        used: dict[tuple[str, ...], Limiter] = {}
        observed = _Observed()
        targets = {name: self._live_pool(pool, used, observed) for name, pool in snapshot.pools.items()}
        targets |= {
            name: _with_classifier_route(target, targets) for name, target in targets.items() if target.pool.route_by
        }
        self._keys = self._keys.succeeded_by(snapshot.key_definitions, self._clock())
        # A limiter that is no longer configured is dropped once its last permit is released and its queue is empty.
        busy = {identity: limiter for identity, limiter in self._limiters.items() if limiter.in_use}
        self._limiters = busy | used
        self._observed = observed
        return RouteTable(targets, self._keys)

    def _live_pool(self, pool: Pool, used: dict[tuple[str, ...], Limiter], observed: _Observed) -> LivePool:
        endpoints = tuple(
            Endpoint(
                provider,
                self._limiter(used, provider.limits, "provider", pool.name, provider.identity),
                self._health(observed, pool, provider),
                self._latency(observed, pool, provider),
            )
            for provider in pool.providers
        )
        for endpoint in endpoints:
            place = endpoint.provider.shared_identity
            endpoint.duplicates = tuple(
                other for other in endpoints if other.provider.shared_identity == place and other is not endpoint
            )
        limiter = self._limiter(used, pool.limits, "pool", pool.name)
        alone = len(endpoints) == 1 and endpoints[0].provider.weight > 0 and not pool.fallback.enabled
        alone = alone and endpoints[0].provider.timeouts.first_token is None
        several = (pool.fallback.max_attempts or len(endpoints)) > 1 or pool.fallback.same is not None
        again = pool.fallback.enabled and several
        budget = self._budget(observed, pool.fallback.budget if again else None, "retry", pool.name)
        hedging = RetryBudgetPolicy(pool.hedge.ratio, 0.0) if pool.hedge is not None and len(endpoints) > 1 else None
        hedges = self._budget(observed, hedging, "hedge", pool.name)
        return LivePool(pool, limiter, endpoints, endpoints[0] if alone else None, None, budget, hedges)

    def _health(self, observed: _Observed, pool: Pool, provider: Provider) -> Health | None:
        """None if the pool has no alternative to the provider, or if neither ejection nor health checks apply."""
        others = len({other.shared_identity for other in pool.providers if other.weight}) > 1
        if not provider.weight or not others or (pool.ejection is None and provider.health_check is None):
            return None
        identity = (pool.name, provider.shared_identity)
        if identity in observed.healths:
            return observed.healths[identity]  # the pool lists the provider twice
        health = self._observed.healths.get(identity)
        if health is None:
            health = Health(pool.ejection, provider.health_check)
        else:
            health.reconfigure(pool.ejection, provider.health_check, self._clock())
        observed.healths[identity] = health
        return health

    def _latency(self, observed: _Observed, pool: Pool, provider: Provider) -> PeakEwma | None:
        if pool.strategy is not Strategy.P2C:
            return None
        identity = (pool.name, provider.shared_identity)
        return observed.latencies.setdefault(identity, self._observed.latencies.get(identity) or PeakEwma())

    def _budget(self, observed: _Observed, policy: RetryBudgetPolicy | None, *identity: str) -> RetryBudget | None:
        if policy is None:
            return None
        budget = self._observed.budgets.get(identity)
        if budget is None:
            budget = RetryBudget(policy, self._clock())
        else:
            budget.reconfigure(policy)
        observed.budgets[identity] = budget
        return budget

    def _limiter(self, used: dict[tuple[str, ...], Limiter], limits: Limits, *identity: str) -> Limiter:
        limiter = self._limiters.get(identity)
        if limiter is None:
            limiter = self._new_limiter(limits)
        else:
            limiter.reconfigure(limits, self._clock())
        used[identity] = limiter
        return limiter

    def close_queues(self) -> None:
        """Stop admitting exchanges from the queues."""
        for limiter in (*self._limiters.values(), *self._keys.made()):
            limiter.close_queue()

    def _new_limiter(self, limits: Limits) -> Limiter:
        return Limiter(limits, self._clock(), self._schedule)


class KeyLimiters:
    """The limiters of keys. Each is created at the first use of its key, because only few of many keys are used.

    ``definitions`` by the digest of the token, ``by_id`` the existing limiters.
    """

    __slots__ = ("_by_digest", "_by_id", "_definitions", "_make")

    def __init__(
        self,
        definitions: Mapping[bytes, KeyDefinition],
        by_id: dict[str, Limiter],
        make: Callable[[Limits], Limiter],
    ) -> None:
        self._definitions = definitions
        self._by_id = by_id
        self._make = make
        self._by_digest: dict[bytes, Limiter] = {}

    def get(self, digest: bytes) -> Limiter | None:
        """The limiter of this token's key; None if it has no limits and no exchange uses an earlier limiter."""
        limiter = self._by_digest.get(digest)
        if limiter is not None:
            return limiter
        definition = self._definitions.get(digest)
        if definition is None:
            return None
        limiter = self._by_id.get(definition.id)
        if limiter is None:
            if definition.limits == NO_LIMITS:
                return None
            limiter = self._by_id[definition.id] = self._make(definition.limits)
        self._by_digest[digest] = limiter
        return limiter

    def made(self) -> list[Limiter]:
        """All limiters created so far."""
        return list(self._by_id.values())

    def succeeded_by(self, definitions: Mapping[bytes, KeyDefinition], now: float) -> KeyLimiters:
        """The limiters of another configuration: those with the same id are kept, with their new limits. A limiter
        without limits, or no longer configured, is dropped once its last permit is released and its queue is empty."""
        kept = {id_: limiter for id_, limiter in self._by_id.items() if limiter.in_use}
        if self._by_id:
            for definition in definitions.values():
                limiter = self._by_id.get(definition.id)
                if limiter is None:
                    continue
                limiter.reconfigure(definition.limits, now)  # also without limits: this admits waiting exchanges
                if definition.limits != NO_LIMITS:
                    kept[definition.id] = limiter
        return KeyLimiters(definitions, kept, self._make)


def _with_classifier_route(target: LivePool, targets: Mapping[str, LivePool]) -> LivePool:
    rule = target.pool.route_by
    assert rule is not None
    labels = {label: targets[name] for label, name in rule.labels.items()}
    return replace(
        target, classifier_route=ClassifierRoute(targets[rule.classifier], labels, targets[rule.default], rule.timeout)
    )


@dataclass(frozen=True, slots=True)
class ActiveConfig:
    """One generation of the configuration. ``needs_principal``: the caller must be identified.
    ``accepted_digests``: digests of all tokens that some target accepts; None: at least one target is open.
    ``generation``: a unique object that references nothing."""

    snapshot: Snapshot
    table: RouteTable
    needs_principal: bool
    accepted_digests: frozenset[bytes | None] | None = None
    generation: object = field(default_factory=object)

    def principal_of(self, head: RequestHead) -> Principal:
        """The caller. Cached for further requests with the same head, until a reload."""
        if head.resolved_by is not self.generation:
            head.principal = identify(head.authorization, head.api_key, self.snapshot.key_definitions)
            head.resolved_by = self.generation
            head.route = None
        principal = head.principal
        assert isinstance(principal, Principal)
        return principal

    def route_to(self, model: str, head: RequestHead, principal: Principal) -> Route:
        """The route to ``model``. Cached for further requests with the same head and model. Raises ProxyError."""
        if self.needs_principal:
            assert head.resolved_by is self.generation
        head.resolved_by = self.generation
        head.route = route = self.table.resolve(model, principal)
        head.model = model
        return route


def _current(snapshot: Snapshot, live: LiveState) -> ActiveConfig:
    needs_principal = any(pool.keys is not None or pool.rules for pool in snapshot.pools.values())
    table = live.compile(snapshot)
    return ActiveConfig(snapshot, table, needs_principal or bool(snapshot.key_definitions), table.accepted_digests)


class ConfigHolder:
    """The active configuration. An exchange reads ``current`` once and keeps it."""

    __slots__ = ("_live", "current", "max_body")

    def __init__(self, snapshot: Snapshot, live: LiveState) -> None:
        self._live = live
        self.current = _current(snapshot, live)
        self.max_body = snapshot.max_body
        """The largest request body of any target, for the doors."""

    def close_queues(self) -> None:
        """Stop admitting exchanges from the queues, at shutdown, when aborted exchanges release their permits."""
        self._live.close_queues()

    def replace(self, snapshot: Snapshot) -> None:
        """Activate another configuration; exchanges in flight keep theirs."""
        self.current = _current(snapshot, self._live)
        self.max_body = snapshot.max_body
