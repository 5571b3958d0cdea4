"""Describes in words how a pool behaves, for `check` and `route`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from onwards_py.errors import ProxyError
from onwards_py.model.limits import Limits, RateLimit
from onwards_py.model.policies import Affinity, EjectionPolicy, FallbackPolicy, RouteBy, RoutingRule, Strategy
from onwards_py.model.pool import Pool
from onwards_py.model.provider import EngineSettings, HealthCheck, Provider
from onwards_py.wire.api import COLLECTIONS, Api
from onwards_py.wire.query import masked

_CHAT_COMPLETIONS = b"/v1" + COLLECTIONS[Api.CHAT_COMPLETIONS]


@dataclass(frozen=True, slots=True)
class RankedProvider:
    """A provider of a pool, and the reason for its rank."""

    provider: Provider
    reason: str


def effective_url(provider: Provider, target: bytes = _CHAT_COMPLETIONS) -> str:
    """The URL of requests for ``target`` (a path), without secrets; for a local or embedded provider, its
    description."""
    if provider.origin is None:
        return _inside(provider)
    try:
        path = masked(provider.join(target))
    except ProxyError as error:
        return f"(refused) {error.message}"
    scheme = "https" if provider.origin.tls else "http"
    return f"{scheme}://{provider.host.decode('ascii')}{path.decode('ascii', 'backslashreplace')}"


def api_url(provider: Provider, api: Api) -> str:
    """The URL of requests in ``api``, as `effective_url` gives it, with a note if they are translated or rejected."""
    upstream = provider.apis.upstream(api)
    if upstream is None:
        return "(not served)"
    url = effective_url(provider, b"/v1" + COLLECTIONS[upstream])
    return url if upstream is api else f"{url} (translated)"


def effective_urls(provider: Provider) -> list[tuple[str, str]]:
    """The name of each API with the URL of its requests; the health check is one of them."""
    if provider.origin is None:
        return [("all", effective_url(provider))]
    check = effective_url(provider, (provider.health_check or HealthCheck()).path)
    asked = {name: effective_url(provider, b"/v1/" + name.encode()) for name in ("embeddings", "messages", "models")}
    asked["messages"] = api_url(provider, Api.MESSAGES)
    return [
        ("chat", api_url(provider, Api.CHAT_COMPLETIONS)),
        ("responses", api_url(provider, Api.RESPONSES)),
        *asked.items(),
        ("health", check if provider.health_check is not None else f"{check} (no health check)"),
    ]


def _inside(provider: Provider) -> str:
    if isinstance(provider.local, EngineSettings):
        return f"(local) {provider.local.engine} {provider.local.model}"
    return "(embedded) echo"


def expected_order(pool: Pool) -> list[RankedProvider]:
    """The providers in the expected order of an idle pool; drained ones come last."""
    active = [provider for provider in pool.providers if provider.weight > 0]
    drained = [
        RankedProvider(provider, "weight 0: drained, never chosen")
        for provider in pool.providers
        if not provider.weight
    ]
    if pool.strategy is Strategy.PRIORITY:
        return [RankedProvider(provider, _rank(place)) for place, provider in enumerate(active)] + drained
    if pool.strategy is Strategy.WEIGHTED_RANDOM:
        load = "lowest load per weight, drawn by weight among equals"
    elif pool.strategy is Strategy.LEAST_INFLIGHT:
        load = "fewest exchanges in flight, drawn by weight among equals"
    elif pool.strategy is Strategy.P2C:
        load = "of two drawn at random the one with the lower time to first byte, times its load by weight"
    else:
        assert_never(pool.strategy)
    total = sum(provider.weight for provider in active)
    by_weight = sorted(active, key=lambda provider: -provider.weight)
    return [RankedProvider(member, f"{member.weight / total:.0%} when idle: {load}") for member in by_weight] + drained


def describe_route_by(rule: RouteBy) -> str:
    """The targets by label, as a sentence."""
    labels = ", ".join(f"{label} -> {target}" for label, target in rule.labels.items())
    return f"by the label of {rule.classifier}: {labels}; {rule.default} for any other, and after {rule.timeout:g} s"


def describe_attempts(pool: Pool) -> str:
    """The number of attempts, and the failures that lead to another attempt, as a sentence."""
    policy = pool.fallback
    if not policy.enabled:
        return f"one attempt; fallback is off; a response head may take {_head(pool)}"
    count = policy.max_attempts or len(pool.providers)
    causes = ["no connection", f"no response head in time ({_head(pool)})"]
    if any(provider.timeouts.first_token is not None for provider in pool.providers):
        causes.append("no first token in time")
    if policy.statuses:
        causes.append(f"status {_ranges(policy.statuses)}")
    if policy.codes:
        causes.append(f"an error with the code {' or '.join(sorted(policy.codes))}")
    if policy.hold is not None:
        causes.append("a response that begins with such an error, or ends without content")
    if policy.on_rate_limit:
        causes.append("the proxy's rate limit of the provider")
    if policy.retry_sent:
        causes.append("a connection that failed after the request was sent")
    if policy.only_if_failed_within is not None:
        causes[-1] += f"; not later than {policy.only_if_failed_within:g} s after the request"
    return f"up to {count} attempt{'s' if count > 1 else ''}; the next one after: {', '.join(causes)}"


def _head(pool: Pool) -> str:
    """The timeout of a response head."""
    found: dict[str, None] = {}
    for provider in pool.providers:
        timeouts = provider.timeouts
        streamed = timeouts.first_byte_streamed
        also = "" if streamed is None else f", {min(streamed, timeouts.first_byte):g} s if streamed"
        found[f"{timeouts.first_byte:g} s{also}"] = None
    return " or ".join(found) or "0 s"


def describe_resilience(pool: Pool) -> list[str]:
    """Rules, limits and resilience features of a pool, a sentence each; none for those that are off."""
    found = [_rule(rule) for rule in pool.rules]
    found += _limits("target", pool.limits)
    for provider in pool.providers:
        found += _limits(provider.name, provider.limits)
    several = sum(provider.weight > 0 for provider in pool.providers) > 1
    if several and pool.affinity is not None:
        found.append(_affinity(pool.affinity))
    if several and pool.ejection is not None:
        found.append(_ejection(pool.ejection))
    if several:
        found += [_check(provider.name, check) for provider in pool.providers if (check := provider.health_check)]
    several_attempts = (pool.fallback.max_attempts or len(pool.providers)) > 1 or pool.fallback.same is not None
    if pool.fallback.enabled and several_attempts:
        found += _retry_conditions(pool.fallback)
    if several and pool.hedge is not None:
        found.append(
            f"hedge: without a response head within {pool.hedge.after:g} s, a second provider gets the request, too; "
            f"for {pool.hedge.ratio:.0%} of the requests"
        )
    return found


def _rule(rule: RoutingRule) -> str:
    labels = " and ".join(f"{name}={value}" for name, value in rule.labels.items())
    who = f"keys with {labels}" if labels else "all other keys"
    return f"rule: {who} are {'rejected' if rule.redirect is None else f'redirected to {rule.redirect}'}"


def _limits(name: str, limits: Limits) -> list[str]:
    bounds: list[str] = []
    if limits.rate is not None:
        bounds.append(_rate("requests", limits.rate))
    if limits.tokens is not None:
        bounds.append(_rate("tokens", limits.tokens))
    if limits.concurrency is not None:
        bounds.append(f"{limits.concurrency} at a time")
    if not bounds:
        return []
    then = "others get 429"
    if limits.queue is not None:
        then = f"{limits.queue.max_waiting} more wait, {limits.queue.timeout:g} s at most"
    return [f"limits of {name}: {'; '.join(bounds)}; {then}"]


def _rate(what: str, rate: RateLimit) -> str:
    often = (
        f"{rate.per_second:g} {what} a second" if rate.per_second >= 1 else f"{rate.per_second * 60:g} {what} a minute"
    )
    return f"{often}, {rate.burst:g} at once"


def _affinity(affinity: Affinity) -> str:
    keys = [name.decode("ascii", "backslashreplace") for name in affinity.session]
    if affinity.prompt_bytes is not None:
        keys.append(f"the first {affinity.prompt_bytes} bytes of the prompt")
    return (
        f"affinity: requests with the same {', else '.join(keys)} go to one provider, "
        f"unless it has more than {affinity.max_load:g} times its share"
    )


def _ejection(policy: EjectionPolicy) -> str:
    causes: list[str] = []
    if policy.consecutive_failures is not None:
        causes.append(f"{policy.consecutive_failures} failures in a row")
    if policy.failure_rate is not None:
        causes.append(f"failures of {policy.failure_rate:.0%} of {policy.min_requests} or more in {policy.window:g} s")
    if policy.auth_failures is not None:
        causes.append(f"{policy.auth_failures} refusals of its credential in a row")
    if not causes:
        return "ejection: only for 429 and Retry-After; never the last provider"
    return (
        f"ejection: after {', '.join(causes)}; for {policy.base_time:g} s, twice as long each time, "
        f"{policy.max_time:g} s at most; never the last provider"
    )


def _check(name: str, check: HealthCheck) -> str:
    path = masked(check.path).decode("ascii", "backslashreplace")
    return (
        f"health check of {name}: GET {path} every {check.interval:g} s; "
        f"unhealthy after {check.unhealthy_after} failures in a row, healthy after {check.healthy_after} successes"
    )


def _retry_conditions(policy: FallbackPolicy) -> list[str]:
    found: list[str] = []
    if policy.same is not None:
        causes = [f"status {_ranges(policy.same.statuses)}"] if policy.same.statuses else []
        causes += ["a connection that failed"] if policy.same.on_reset else []
        times = "once more" if policy.same.attempts == 1 else f"up to {policy.same.attempts} times more"
        found.append(f"the same provider is tried {times} after: {', '.join(causes) or 'nothing'}")
    if policy.budget is not None:
        found.append(
            f"retry budget: further attempts for {policy.budget.ratio:.0%} of the requests, "
            f"and {policy.budget.per_second:g} a second"
        )
    if policy.max_retry_after:
        found.append(f"Retry-After: up to {policy.max_retry_after:g} s are honoured")
    if policy.hold is not None:
        found.append(
            f"hold: a response is held until its first content, {policy.hold.max_time:g} s "
            f"and {policy.hold.max_bytes} bytes at most"
        )
    return found


def _rank(place: int) -> str:
    return "first choice" if place == 0 else "when those before it are full or failed"


def _ranges(statuses: frozenset[int]) -> str:
    """``{429, 500, ..., 599}`` as ``429, 500-599``."""
    spans: list[tuple[int, int]] = []
    for status in sorted(statuses):
        if spans and status == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], status)
        else:
            spans.append((status, status))
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
