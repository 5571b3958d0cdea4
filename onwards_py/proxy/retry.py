"""Providers are asked in the plan's order until one answers for good. Everything here happens before commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.limits.admission import try_acquire
from onwards_py.messages import Fault
from onwards_py.model.policies import HedgePolicy
from onwards_py.proxy.admission_queue import QueueTicket
from onwards_py.proxy.attempt import Attempt, prepare
from onwards_py.proxy.attempt_result import AttemptFailed, LastResponse, drain_body
from onwards_py.proxy.delivery import deliver, deliver_translated, pass_on_whole, stream, try_send_now
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.failure_log import FailureLog
from onwards_py.proxy.hedge import HedgeWinner, race, safe_to_hedge
from onwards_py.proxy.not_found_log import NotFoundLog
from onwards_py.proxy.outlier_detection import (
    note_fault,
    note_head,
    note_hedge_lost,
    note_stale_connection,
    note_success,
)
from onwards_py.proxy.redaction import redacted
from onwards_py.proxy.tunnel import open_tunnel, run_tunnel
from onwards_py.proxy.upstream_request import (
    Answer,
    RoutedRequest,
    Transports,
    error_of,
    may_follow,
    outbound_request,
    validate_response,
)
from onwards_py.routing.affinity import key_of
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.table import LivePool
from onwards_py.transports.base import TransportError, UpstreamResponse
from onwards_py.transports.tunnel import Handshake
from onwards_py.wire.response_head import retry_after

NOT_AGAIN: Final = b"X-Should-Retry: false\r\n"
"""Tells the SDKs of OpenAI and Anthropic that their own retries are of no use: all that can be tried was tried."""


class RetryLoop:
    """``clock`` gives monotonic seconds, ``random`` numbers in [0, 1)."""

    def __init__(
        self,
        transports: Transports,
        clock: Callable[[], float],
        random: Callable[[], float],
        not_found: NotFoundLog,
    ) -> None:
        self._transports = transports
        self._clock = clock
        self._random = random
        self._failures = FailureLog(clock)
        self._not_found = not_found

    async def serve_single(self, exchange: Exchange, routed: RoutedRequest, member: Endpoint) -> None:
        """The most frequent plan: one provider, which has let the exchange in already, and one attempt."""
        provider = member.provider
        exchange.provider = provider.name
        if provider.translates:
            await self._translate_single(exchange, routed, member)
            return
        outbound = outbound_request(provider, routed)
        exchange.attempts = 1
        try:
            answer = validate_response(provider, await self._transports.of(provider).send(provider, outbound), routed)
        except TransportError as error:
            self._failed(exchange, member, error)
            raise error_of(error.fault, error.advice) from error
        if answer.response.repeated:
            exchange.note_repeat(member.provider.name)
        if answer.response.head.status >= 400:
            self._not_found.note(provider, answer.response.head.status, outbound.target)
            answer = await redacted(answer)
        if not pass_on_whole(exchange, answer, self._clock()):
            await stream(exchange, routed, member, answer, self._clock)

    async def _translate_single(self, exchange: Exchange, routed: RoutedRequest, member: Endpoint) -> None:
        """The same where some requests are made in another dialect."""
        prepared = prepare(exchange, routed, member)
        exchange.attempts = 1
        try:
            answer = validate_response(member.provider, await self._sending(prepared), routed)
        except TransportError as error:
            self._failed(exchange, member, error)
            failure = error_of(error.fault, error.advice)
            if prepared.early is not None and prepared.early.give_up(failure):
                return
            raise failure from error
        if answer.response.repeated:
            exchange.note_repeat(member.provider.name)
        if answer.response.head.status >= 400:
            self._not_found.note(member.provider, answer.response.head.status, prepared.outbound.target)
            answer = await redacted(answer)
        if prepared.translation is not None:
            failed = await deliver_translated(prepared, answer, None, self._clock)
            if failed is not None and failed.last is not None:
                failed.last.send(exchange, self._clock())
        elif not pass_on_whole(exchange, answer, self._clock()):
            await stream(exchange, routed, member, answer, self._clock)

    async def serve(self, exchange: Exchange, routed: RoutedRequest) -> None:
        """Ask until one answers for good. Raises ProxyError if none does."""
        plan = self._plan(routed)
        others = len(exchange.permits)
        last: LastResponse | None = None
        failure: ProxyError | None = None
        try:
            while (member := await self._next_provider(exchange, plan)) is not None:
                try:
                    prepared = prepare(exchange, routed, member)
                except ProxyError as error:
                    # Not this one; perhaps another, that need not be asked in another dialect.
                    failure = failure or error
                    _exclude(exchange, plan, member)
                    exchange.release_beyond(others)
                    continue
                failed = await self._attempt(exchange, routed, prepared, plan)
                if failed is None:
                    return
                failure, last = failed.error, failed.last or last
                exchange.release_beyond(others)
                if not failed.proceed or not await self._wait(plan):
                    break
        finally:
            if plan.probing:
                plan.abandon(self._clock())
        exchange.over_budget = plan.over_budget
        if plan.exhausted or plan.over_budget:
            exchange.extra_headers = NOT_AGAIN
        if last is None:
            raise failure or no_provider_error(routed.target)
        last.send(exchange, self._clock())

    async def tunnel(self, exchange: Exchange, routed: RoutedRequest) -> None:
        """Ask providers to speak WebSocket until one answers; then it is between client and provider."""
        plan = self._plan(routed)
        try:
            await self._tunnel(exchange, routed, plan)
        finally:
            if plan.probing:
                plan.abandon(self._clock())

    async def _tunnel(self, exchange: Exchange, routed: RoutedRequest, plan: FallbackPlan) -> None:
        others = len(exchange.permits)
        failure: ProxyError | None = None
        while (member := await self._next_provider(exchange, plan)) is not None:
            try:
                handshake = await open_tunnel(member.provider, routed)
            except ProxyError as error:
                failure = failure or error
                _exclude(exchange, plan, member)
                exchange.release_beyond(others)
                continue
            except TransportError as error:
                self._failures.record_failure(exchange.target, member.provider.name, error)
                failure = error_of(error.fault, error.advice)
                now = self._clock()
                note_fault(member, error.fault, now)
                plan.elapsed = now - exchange.began
                exchange.release_beyond(others)
                if not may_follow(plan, error.fault, member, routed, now) or not await self._wait(plan):
                    break
            else:
                if await self._retry_handshake(exchange, routed, plan, member, handshake):
                    exchange.release_beyond(others)
                    continue
                await run_tunnel(exchange, member.provider, handshake, self._clock())
                return
        raise failure or no_provider_error(routed.target)

    async def _retry_handshake(
        self, exchange: Exchange, routed: RoutedRequest, plan: FallbackPlan, member: Endpoint, handshake: Handshake
    ) -> bool:
        """Take note of how a provider answered a handshake; True if another is to be asked instead, and now."""
        now, head = self._clock(), handshake.answered.result()
        if head.status < 400:
            note_success(member)
            return False
        note_head(member, head, 0.0, now)
        self._not_found.note(member.provider, head.status, routed.path)
        plan.elapsed = now - exchange.began
        plan.note_retry_after(member, retry_after(head.lines, time.time()), now)
        try:
            again = plan.retries_status(head.status, member, now) and await self._wait(plan)
        except BaseException:
            handshake.abort()
            raise
        if again:
            handshake.abort()
        return again

    def _failed(self, exchange: Exchange, member: Endpoint, error: TransportError) -> None:
        """An attempt failed: say so in the log."""
        self._failures.record_failure(exchange.target, member.provider.name, error)
        if error.repeated:
            exchange.note_repeat(member.provider.name)

    def _sending(self, prepared: Attempt) -> Coroutine[Any, Any, UpstreamResponse]:
        """One round trip, up to the head. Raises TransportError."""
        provider, early = prepared.member.provider, prepared.early
        sending = self._transports.of(provider).send(provider, prepared.outbound)
        return sending if early is None else early.during(sending)

    def _plan(self, routed: RoutedRequest) -> FallbackPlan:
        affinity = routed.target.pool.affinity
        key = None if affinity is None else key_of(affinity, routed.request.fields, routed.address.body)
        return FallbackPlan(routed.target, self._random, key)

    async def _next_provider(self, exchange: Exchange, plan: FallbackPlan) -> Endpoint | None:
        """The provider to try next, with a permit of it; None if none is left. Waits in queues of full ones."""
        return self._acquire_provider(exchange, plan) or await self._wait_for_place(exchange, plan)

    def _acquire_provider(self, exchange: Exchange, plan: FallbackPlan) -> Endpoint | None:
        """The provider to try next, with a permit of it; None if none is left: ``plan.refusals`` are why."""
        now = self._clock()
        member = plan.next(now)
        while member is not None:
            blocked = exchange.acquire((member.limiter,), now)
            if blocked is None:
                exchange.attempts = plan.attempts + len(exchange.repeats)
                exchange.provider = member.provider.name
                return member
            plan.rejections.append(blocked)
            member = plan.next(now) if plan.retries_rate_limit() else None
        return None

    async def _wait_for_place(self, exchange: Exchange, plan: FallbackPlan) -> Endpoint | None:
        """As long as nobody was asked, wait in line for the first provider that has a place again; None if there is
        nobody to wait for. Raises ProxyError."""
        if exchange.attempts:
            return None
        refusals = plan.rejections
        with QueueTicket(self._clock) as place:
            while True:
                blocks = refusals + [
                    blocked
                    for member in plan.endpoints
                    if member.limiter.full and (blocked := try_acquire((member.limiter,), self._clock())) is not None
                ]
                if not blocks:
                    return None
                await place.wait(blocks)
                plan.restart(self._clock())
                refusals = []
                member = plan.next(self._clock())
                if member is None:
                    continue
                blocked = exchange.acquire((member.limiter,), self._clock())
                if blocked is None:
                    exchange.attempts = plan.attempts + len(exchange.repeats)
                    exchange.provider = member.provider.name
                    return member
                refusals.append(blocked)

    async def _attempt(
        self, exchange: Exchange, routed: RoutedRequest, prepared: Attempt, plan: FallbackPlan
    ) -> AttemptFailed | None:
        """One attempt, up to the last byte; what is left if it did not serve the client."""
        hedge, hedged = routed.target.pool.hedge, exchange.hedged
        try:
            if hedge is None or prepared.early is not None or not safe_to_hedge(routed):
                answer = await self._sent(exchange, routed, prepared, plan)
            else:
                won = await self._hedged(exchange, routed, prepared, plan, hedge)
                prepared, answer = won.prepared, won.answer
        except TransportError as error:
            failure = error_of(error.fault, error.advice)
            if prepared.early is not None and prepared.early.give_up(failure):
                return None
            now = self._clock()
            plan.elapsed = now - exchange.began
            # Of two that were asked at one time the error is that of the last: of which one is not known here.
            member = prepared.member if exchange.hedged == hedged else None
            return AttemptFailed(failure, may_follow(plan, error.fault, member, routed, now))
        now = self._clock()
        plan.elapsed = now - exchange.began
        early, status = prepared.early, answer.response.head.status
        if early is None or not early.begun:
            gives_up = plan.retries_status(status, prepared.member, now)
            if plan.may_continue and (gives_up or (status >= 400 and plan.policy.enabled and plan.policy.codes)):
                kept = await drain_body(answer, prepared.translation)
                if status >= 400:
                    gives_up = plan.retries_error(status, kept.codes, prepared.member, now)
                return AttemptFailed(error_of(Fault.INVALID), proceed=gives_up, last=kept)
            if gives_up and plan.exhausted:
                exchange.extra_headers = NOT_AGAIN
        if try_send_now(prepared, answer, plan, now):
            return None
        return await deliver(prepared, answer, plan, self._clock)

    async def _sent(self, exchange: Exchange, routed: RoutedRequest, prepared: Attempt, plan: FallbackPlan) -> Answer:
        """Send, and take note of how the provider reacts. Raises TransportError."""
        member = prepared.member
        began = prepared.sent_at = self._clock()
        try:
            answer = validate_response(member.provider, await self._sending(prepared), routed)
        except TransportError as error:
            self._failed(exchange, member, error)
            note_fault(member, error.fault, self._clock())
            raise
        now = self._clock()
        head = answer.response.head
        if answer.response.repeated:
            exchange.note_repeat(member.provider.name)
            note_stale_connection(member, now)
        note_head(member, head, now - began, now)
        if head.status >= 400:
            plan.note_retry_after(member, retry_after(head.lines, time.time()), now)
            self._not_found.note(member.provider, head.status, prepared.outbound.target)
            answer = await redacted(answer)
        return answer

    async def _hedged(
        self, exchange: Exchange, routed: RoutedRequest, prepared: Attempt, plan: FallbackPlan, hedge: HedgePolicy
    ) -> HedgeWinner:
        def second() -> Attempt | None:
            member = plan.hedge(self._clock())
            if member is None or exchange.acquire((member.limiter,), self._clock()) is not None:
                return None
            exchange.attempts = plan.attempts + len(exchange.repeats)
            exchange.hedged += 1
            try:
                return prepare(exchange, routed, member)
            except ProxyError:
                exchange.release(member.limiter)
                return None

        won = await race(
            prepared,
            lambda attempted: self._sent(exchange, routed, attempted, plan),
            hedge.after,
            second,
            will_do=lambda answer: _hedge_wins(answer.response.head.status, plan),
            let_go=lambda lost: exchange.release(lost.member.limiter),
        )
        exchange.provider = won.prepared.member.provider.name
        if won.beaten is not None:
            now = self._clock()
            note_hedge_lost(won.beaten.member, now - won.beaten.sent_at, now)
        return won

    async def _wait(self, plan: FallbackPlan) -> bool:
        """Back off before the next attempt, if there is to be one; False: none is allowed."""
        if not plan.may_continue:
            return False
        seconds = plan.backoff(self._clock())
        if seconds:
            await asyncio.sleep(seconds)
        return seconds is not None


def _exclude(exchange: Exchange, plan: FallbackPlan, member: Endpoint) -> None:
    """``member`` cannot take the request, and was not asked."""
    plan.exclude(member)
    member.limiter.refund()
    exchange.attempts = plan.attempts + len(exchange.repeats)
    if not plan.attempts:
        exchange.provider = ""


def _hedge_wins(status: int, plan: FallbackPlan) -> bool:
    """False of what a hedge may not bring upon a client whose own answer is still to come."""
    return status < 500 and status != 429 and not plan.retries_status(status)


def no_provider_error(target: LivePool) -> ProxyError:
    """No provider could even be tried: all are busy, or all are drained."""
    if any(member.provider.weight for member in target.endpoints):
        return ProxyError(ErrorKind.CONCURRENCY_LIMIT, retry_after=1)
    return ProxyError(ErrorKind.NO_PROVIDER)
