"""The retry loop: providers are tried in the plan's order until one serves the client.

Another attempt can follow only until the response is committed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from onwards_py.errors import ProxyError
from onwards_py.messages import Clock, Fault, Random, ResponseHead
from onwards_py.model.policies import HedgePolicy
from onwards_py.observe.failure_log import FailureLog
from onwards_py.observe.not_found_log import NotFoundLog
from onwards_py.proxy.acquire_provider import acquire_provider, exclude, no_provider_error, wait_for_provider
from onwards_py.proxy.attempt import Attempt, AttemptFailed, LastResponse, prepare, redact
from onwards_py.proxy.buffered_response import drain_body
from onwards_py.proxy.delivery import deliver
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.first_content_gate import is_held
from onwards_py.proxy.hedge import race
from onwards_py.proxy.translate_response import early_sink, fail_committed
from onwards_py.proxy.tunnel import open_tunnel, prepare_tunnel, read_rejection, run_tunnel, wants_tunnel
from onwards_py.proxy.upstream_request import error_of, outbound_request
from onwards_py.routing.affinity import key_of
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.outlier_detection import (
    note_fault,
    note_head,
    note_hedge_lost,
    note_stale_connection,
    note_success,
)
from onwards_py.routing.routed_request import RoutedRequest, retries_fault, safe_to_hedge
from onwards_py.transports.base import TransportError, Transports, UpstreamResponse
from onwards_py.wire.response_head import examine_response, retry_after

NO_RETRY: Final = b"X-Should-Retry: false\r\n"
"""Prevents retries by the SDKs of OpenAI and Anthropic, after the proxy has tried all providers of the pool."""

Prepare = Callable[[Exchange, RoutedRequest, Endpoint], Attempt]
Run = Callable[[Attempt, FallbackPlan], Coroutine[Any, Any, AttemptFailed | None]]


class RetryLoop:
    """Tries providers. ``clock`` gives monotonic seconds, ``random`` numbers in [0, 1)."""

    def __init__(
        self,
        transports: Transports,
        clock: Clock,
        random: Random,
        not_found: NotFoundLog,
    ) -> None:
        self._transports = transports
        self._clock = clock
        self._random = random
        self._failures = FailureLog(clock)
        self._not_found = not_found

    def serve(self, exchange: Exchange, routed: RoutedRequest) -> Coroutine[Any, Any, AttemptFailed | None]:
        """Serve the client. Returns the last failed attempt if no attempt served it. Raises ProxyError.

        A single provider without fallback, whose permit the exchange holds already, needs no plan and no loop.
        """
        single = routed.target.single
        if routed.head.upgrade is not None and wants_tunnel(routed):
            return self._retry(exchange, routed, prepare_tunnel, self._run_tunnel)
        if single is None or routed.head.upgrade is not None:
            return self._retry(exchange, routed, prepare, self._run)
        provider = single.provider
        exchange.provider = provider.name
        if not provider.apis.all_native:
            attempt = prepare(exchange, routed, single)
        else:
            attempt = Attempt(exchange, routed, single, outbound_request(provider, routed))
        exchange.attempts = 1
        return self._run(attempt, None)

    async def _retry(
        self, exchange: Exchange, routed: RoutedRequest, prepare: Prepare, run: Run
    ) -> AttemptFailed | None:
        affinity = routed.target.pool.affinity
        key = None if affinity is None else key_of(affinity, routed.request.fields, routed.address.body)
        plan = FallbackPlan(routed.target, self._random, key)
        permits = len(exchange.permits)
        error: ProxyError | None = None
        response: LastResponse | None = None
        try:
            while endpoint := (
                acquire_provider(exchange, plan, self._clock()) or await wait_for_provider(exchange, plan, self._clock)
            ):
                try:
                    attempt = prepare(exchange, routed, endpoint)
                except ProxyError as unserved:  # perhaps another provider serves the request
                    error = error or unserved
                    exclude(exchange, plan, endpoint)
                    exchange.release_beyond(permits)
                    continue
                failed = await run(attempt, plan)
                if failed is None:
                    return None
                error, response = failed.error, failed.response or response
                exchange.release_beyond(permits)
                if not failed.retryable or not await self._wait(plan):
                    break
        finally:
            if plan.probing:
                plan.abandon(self._clock())
        exchange.over_budget = plan.over_budget
        if plan.exhausted or plan.over_budget:
            exchange.extra_headers = NO_RETRY
        return AttemptFailed(error or no_provider_error(routed.target), retryable=False, response=response)

    async def _wait(self, plan: FallbackPlan) -> bool:
        """Wait before the next attempt, if another one is allowed; False: it is not."""
        seconds = plan.backoff(self._clock()) if plan.may_continue else None
        if seconds:
            await asyncio.sleep(seconds)
        return seconds is not None

    # One attempt over HTTP

    async def _run(self, attempt: Attempt, plan: FallbackPlan | None) -> AttemptFailed | None:
        """Run one attempt to the last byte of its response. Returns the failure if it did not serve the client."""
        exchange, hedge, hedged = attempt.exchange, None, 0
        if attempt.translation is not None:
            attempt.sink = early_sink(attempt, self._clock)
        if plan is not None:
            attempt.sent_at = self._clock()
            hedged, hedge = exchange.hedged, attempt.routed.target.pool.hedge
            if hedge is not None and (attempt.sink is not None or not safe_to_hedge(attempt.routed)):
                hedge = None
        try:
            if plan is None or hedge is None:
                provider, transports = attempt.endpoint.provider, self._transports
                transport = transports.http if provider.local is None else transports.of(provider)
                sending = transport.send(provider, attempt.outbound)
                sink = attempt.sink
                self._receive(attempt, plan, await (sending if sink is None else sink.before_head(sending)))
            else:
                attempt = await self._race(attempt, plan, hedge)
        except TransportError as error:
            if hedge is None:
                self._on_fault(attempt, error)
            # If two attempts ran at the same time, the error is that of the last one, whose endpoint is not known here.
            endpoint = attempt.endpoint if hedge is None or exchange.hedged == hedged else None
            return self._without_response(attempt, plan, error, endpoint)
        status = attempt.response.head.status
        if status >= 400 and hedge is None and attempt.endpoint.provider.redaction is not None:
            await redact(attempt, attempt.endpoint.provider.redaction)
        now = self._clock()
        if plan is not None and not (attempt.sink is not None and exchange.downstream.committed):
            plan.elapsed = now - exchange.began
            retryable = plan.retries_status(status, attempt.endpoint, now)
            if plan.may_continue and (retryable or (status >= 400 and plan.policy.enabled and plan.policy.codes)):
                buffered = await drain_body(attempt)
                if status >= 400:
                    retryable = plan.retries_error(status, buffered.codes(plan.policy.codes), attempt.endpoint, now)
                return AttemptFailed(error_of(Fault.INVALID), retryable, buffered)
            if retryable and plan.exhausted:
                exchange.extra_headers = NO_RETRY
        held = plan is not None and is_held(attempt, plan)
        if attempt.translation is None and not held:
            if plan is not None and status < 300:
                note_success(attempt.endpoint)
            response, facts = attempt.response, attempt.facts
            if not facts.event_stream and (body := response.complete_body()) is not None:
                exchange.pass_on(response.head, facts, body, now)
                return None
        return await deliver(attempt, plan, self._clock, held=held)

    def _receive(self, attempt: Attempt, plan: FallbackPlan | None, response: UpstreamResponse) -> None:
        """Check a response head, and record its effect on the provider's health. Raises TransportError for a head that
        must not be forwarded."""
        endpoint, head = attempt.endpoint, response.head
        provider = endpoint.provider
        try:
            to_head = attempt.routed.request.method == b"HEAD"
            attempt.facts = examine_response(head, provider.response_fields, to_head=to_head)
        except ProxyError as error:
            response.discard()
            raise TransportError(Fault.INVALID, "a response head that cannot be forwarded") from error
        attempt.response = response
        if response.repeated:
            attempt.exchange.note_repeat(provider.name)
        if plan is not None:
            now = self._clock()
            if response.repeated:
                note_stale_connection(endpoint, now)
            if head.status < 400:
                note_head(endpoint, head.status, None, now - attempt.sent_at, now)
            else:
                _note_error(endpoint, plan, head, now)
        if head.status >= 400:
            self._not_found.note(provider, head.status, attempt.outbound.target)

    def _on_fault(self, attempt: Attempt, error: TransportError) -> None:
        """Log an attempt without a response, and record its effect on the provider's health."""
        exchange, endpoint = attempt.exchange, attempt.endpoint
        self._failures.record_failure(exchange.target, endpoint.provider.name, error)
        if error.repeated:
            exchange.note_repeat(endpoint.provider.name)
        note_fault(endpoint, error.fault, self._clock())

    def _without_response(
        self, attempt: Attempt, plan: FallbackPlan | None, error: TransportError, endpoint: Endpoint | None
    ) -> AttemptFailed | None:
        failure = error_of(error.fault, error.advice)
        if fail_committed(attempt, failure):
            return None
        if plan is None:
            return AttemptFailed(failure, retryable=False)
        now = self._clock()
        plan.elapsed = now - attempt.exchange.began
        return AttemptFailed(failure, retries_fault(plan, error.fault, endpoint, attempt.routed, now))

    # Hedged

    async def _race(self, attempt: Attempt, plan: FallbackPlan, hedge: HedgePolicy) -> Attempt:
        exchange = attempt.exchange

        async def send(attempt: Attempt) -> None:
            provider, attempt.sent_at = attempt.endpoint.provider, self._clock()
            try:
                response = await self._transports.of(provider).send(provider, attempt.outbound)
                self._receive(attempt, plan, response)
            except TransportError as error:
                self._on_fault(attempt, error)
                raise
            if response.head.status >= 400 and provider.redaction is not None:
                await redact(attempt, provider.redaction)  # within the race, because it may wait for a coded body

        def second() -> Attempt | None:
            endpoint = plan.hedge(self._clock())
            if endpoint is None or exchange.acquire((endpoint.limiter,), self._clock()) is not None:
                return None
            exchange.attempts = plan.attempts + len(exchange.repeats)
            exchange.hedged += 1
            try:
                return prepare(exchange, attempt.routed, endpoint)
            except ProxyError:
                exchange.release(endpoint.limiter)
                return None

        def wins(attempt: Attempt) -> bool:
            """False for a failed response while another attempt may still succeed."""
            status = attempt.response.head.status
            return status < 500 and status != 429 and not plan.retries_status(status)

        winner = await race(
            attempt,
            send,
            hedge.after,
            second,
            wins=wins,
            on_loser=lambda loser: exchange.release(loser.endpoint.limiter),
        )
        exchange.provider = winner.attempt.endpoint.provider.name
        if winner.outrun is not None:
            now = self._clock()
            note_hedge_lost(winner.outrun.endpoint, now - winner.outrun.sent_at, now)
        return winner.attempt

    # One attempt at a tunnel

    async def _run_tunnel(self, attempt: Attempt, plan: FallbackPlan) -> AttemptFailed | None:
        endpoint = attempt.endpoint
        try:
            handshake = await open_tunnel(attempt)
        except TransportError as error:
            self._on_fault(attempt, error)
            return self._without_response(attempt, plan, error, endpoint)
        now, head = self._clock(), handshake.answered.result()
        if head.status < 400:
            note_success(endpoint)
        else:
            _note_error(endpoint, plan, head, now)
            self._not_found.note(endpoint.provider, head.status, attempt.routed.path)
        if head.status == 101:
            await run_tunnel(attempt, handshake, now)
            return None
        plan.elapsed = now - attempt.exchange.began
        retryable = head.status >= 400 and plan.retries_status(head.status, endpoint, now)
        rejection = await read_rejection(attempt, handshake, retryable=retryable and plan.may_continue)
        return AttemptFailed(error_of(Fault.INVALID), retryable, rejection)


def _note_error(endpoint: Endpoint, plan: FallbackPlan, head: ResponseHead, now: float) -> None:
    """Record a head with a status of 400 or more, which is no sample of the latency, and its Retry-After."""
    wait = retry_after(head.lines, time.time())
    note_head(endpoint, head.status, wait, 0.0, now)
    plan.note_retry_after(endpoint, wait, now)
