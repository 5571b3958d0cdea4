"""Providers are asked in the plan's order until one answers for good. Everything here happens before commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.limits.admission import attempt
from onwards_py.messages import Fault
from onwards_py.model.policies import HedgePolicy
from onwards_py.proxy.attempt import (
    Answer,
    Ask,
    Transports,
    accept,
    error_of,
    may_follow,
    outbound_request,
)
from onwards_py.proxy.delivery import deliver, deliver_translated, delivered, pass_on_whole, stream
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.failure_log import FailureLog
from onwards_py.proxy.hedge import Won, first_answer, leaves_nothing
from onwards_py.proxy.kept import Failed, Sendable, keep
from onwards_py.proxy.not_found_log import NotFoundLog
from onwards_py.proxy.prepared import Prepared, prepare
from onwards_py.proxy.queueing import Place
from onwards_py.proxy.redaction import redacted
from onwards_py.proxy.tunnel import open_tunnel, run_tunnel
from onwards_py.proxy.verdicts import note_beaten, note_fault, note_head, note_repeat, note_success
from onwards_py.routing.affinity import key_of
from onwards_py.routing.balancer import Member
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.table import LivePool
from onwards_py.transports.base import TransportError, UpstreamResponse
from onwards_py.transports.tunnel import Handshake
from onwards_py.wire.response_head import retry_after

NOT_AGAIN: Final = b"X-Should-Retry: false\r\n"
"""Tells the SDKs of OpenAI and Anthropic that their own retries are of no use: all that can be tried was tried."""


class Attempts:
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

    async def serve_sole(self, exchange: Exchange, ask: Ask, member: Member) -> None:
        """The most frequent plan: one provider, which has let the exchange in already, and one attempt."""
        provider = member.provider
        exchange.provider = provider.name
        if provider.translates:
            await self._translate_sole(exchange, ask, member)
            return
        outbound = outbound_request(provider, ask)
        exchange.attempts = 1
        try:
            answer = accept(provider, await self._transports.of(provider).send(provider, outbound), ask)
        except TransportError as error:
            self._failed(exchange, member, error)
            raise error_of(error.fault, error.advice) from error
        if answer.response.repeated:
            exchange.note_repeat(member.provider.name)
        if answer.response.head.status >= 400:
            self._not_found.note(provider, answer.response.head.status, outbound.target)
            answer = await redacted(answer)
        if not pass_on_whole(exchange, answer, self._clock()):
            await stream(exchange, ask, member, answer, self._clock)

    async def _translate_sole(self, exchange: Exchange, ask: Ask, member: Member) -> None:
        """The same where some requests are made in another dialect."""
        prepared = prepare(exchange, ask, member)
        exchange.attempts = 1
        try:
            answer = accept(member.provider, await self._sending(prepared), ask)
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
            await stream(exchange, ask, member, answer, self._clock)

    async def serve(self, exchange: Exchange, ask: Ask) -> None:
        """Ask until one answers for good. Raises ProxyError if none does."""
        plan = self._plan(ask)
        others = len(exchange.held)
        last: Sendable | None = None
        failure: ProxyError | None = None
        try:
            while (member := self._take(exchange, plan) or await self._wait_for_place(exchange, plan)) is not None:
                try:
                    prepared = prepare(exchange, ask, member)
                except ProxyError as error:
                    # Not this one; perhaps another, that need not be asked in another dialect.
                    failure = failure or error
                    _set_aside(exchange, plan, member)
                    exchange.give_back_to(others)
                    continue
                failed = await self._attempt(exchange, ask, prepared, plan)
                if failed is None:
                    return
                failure, last = failed.error, failed.last or last
                exchange.give_back_to(others)
                if not failed.proceed or not await self._wait(plan):
                    break
        finally:
            if plan.probing:
                plan.abandon(self._clock())
        exchange.over_budget = plan.over_budget
        if plan.exhausted or plan.over_budget:
            exchange.extra = NOT_AGAIN
        if last is None:
            raise failure or _nobody(ask.target)
        last.send(exchange, self._clock())

    async def tunnel(self, exchange: Exchange, ask: Ask) -> None:
        """Ask providers to speak WebSocket until one answers; then it is between client and provider."""
        plan = self._plan(ask)
        try:
            await self._tunnel(exchange, ask, plan)
        finally:
            if plan.probing:
                plan.abandon(self._clock())

    async def _tunnel(self, exchange: Exchange, ask: Ask, plan: FallbackPlan) -> None:
        others = len(exchange.held)
        failure: ProxyError | None = None
        while (member := self._take(exchange, plan) or await self._wait_for_place(exchange, plan)) is not None:
            try:
                handshake = await open_tunnel(member.provider, ask)
            except ProxyError as error:
                failure = failure or error
                _set_aside(exchange, plan, member)
                exchange.give_back_to(others)
                continue
            except TransportError as error:
                self._failures.told(exchange.target, member.provider.name, error)
                failure = error_of(error.fault, error.advice)
                now = self._clock()
                note_fault(member, error.fault, now)
                plan.elapsed = now - exchange.began
                exchange.give_back_to(others)
                if not may_follow(plan, error.fault, member, ask, now) or not await self._wait(plan):
                    break
            else:
                if await self._passes_over(exchange, ask, plan, member, handshake):
                    exchange.give_back_to(others)
                    continue
                await run_tunnel(exchange, member.provider, handshake, self._clock())
                return
        raise failure or _nobody(ask.target)

    async def _passes_over(
        self, exchange: Exchange, ask: Ask, plan: FallbackPlan, member: Member, handshake: Handshake
    ) -> bool:
        """Take note of how a provider answered a handshake; True if another is to be asked instead, and now."""
        now, head = self._clock(), handshake.answered.result()
        if head.status < 400:
            note_success(member)
            return False
        note_head(member, head, 0.0, now)
        self._not_found.note(member.provider, head.status, ask.path)
        plan.elapsed = now - exchange.began
        plan.rests(member, retry_after(head.lines, time.time()), now)
        try:
            again = plan.retries_status(head.status, member, now) and await self._wait(plan)
        except BaseException:
            handshake.abort()
            raise
        if again:
            handshake.abort()
        return again

    def _failed(self, exchange: Exchange, member: Member, error: TransportError) -> None:
        """An attempt failed: say so in the log."""
        self._failures.told(exchange.target, member.provider.name, error)
        if error.repeated:
            exchange.note_repeat(member.provider.name)

    def _sending(self, prepared: Prepared) -> Coroutine[Any, Any, UpstreamResponse]:
        """One round trip, up to the head. Raises TransportError."""
        provider, early = prepared.member.provider, prepared.early
        sending = self._transports.of(provider).send(provider, prepared.outbound)
        return sending if early is None else early.during(sending)

    def _plan(self, ask: Ask) -> FallbackPlan:
        affinity = ask.target.pool.affinity
        key = None if affinity is None else key_of(affinity, ask.request.fields, ask.address.body)
        return FallbackPlan(ask.target, self._random, key)

    def _take(self, exchange: Exchange, plan: FallbackPlan) -> Member | None:
        """Whom to ask next, with a permit of it; None if nobody can be asked (any more): ``plan.refusals`` say why."""
        now = self._clock()
        member = plan.next(now)
        while member is not None:
            blocked = exchange.enter((member.limiter,), now)
            if blocked is None:
                exchange.attempts = plan.attempts + len(exchange.repeats)
                exchange.provider = member.provider.name
                return member
            plan.refusals.append(blocked)
            member = plan.next(now) if plan.retries_rate_limit() else None
        return None

    async def _wait_for_place(self, exchange: Exchange, plan: FallbackPlan) -> Member | None:
        """As long as nobody was asked, wait in line for the first provider that has a place again; None if there is
        nobody to wait for. Raises ProxyError."""
        if exchange.attempts:
            return None
        refusals = plan.refusals
        with Place(self._clock) as place:
            while True:
                blocks = refusals + [
                    blocked
                    for member in plan.members
                    if member.limiter.full and (blocked := attempt((member.limiter,), self._clock())) is not None
                ]
                if not blocks:
                    return None
                await place.wait(blocks)
                plan.restart(self._clock())
                refusals = []
                member = plan.next(self._clock())
                if member is None:
                    continue
                blocked = exchange.enter((member.limiter,), self._clock())
                if blocked is None:
                    exchange.attempts = plan.attempts + len(exchange.repeats)
                    exchange.provider = member.provider.name
                    return member
                refusals.append(blocked)

    async def _attempt(self, exchange: Exchange, ask: Ask, prepared: Prepared, plan: FallbackPlan) -> Failed | None:
        """One attempt, up to the last byte; what is left if it did not serve the client."""
        hedge, hedged = ask.target.pool.hedge, exchange.hedged
        try:
            if hedge is None or prepared.early is not None or not leaves_nothing(ask):
                answer = await self._sent(exchange, ask, prepared, plan)
            else:
                won = await self._hedged(exchange, ask, prepared, plan, hedge)
                prepared, answer = won.prepared, won.answer
        except TransportError as error:
            failure = error_of(error.fault, error.advice)
            if prepared.early is not None and prepared.early.give_up(failure):
                return None
            now = self._clock()
            plan.elapsed = now - exchange.began
            # Of two that were asked at one time the error is that of the last: of which one is not known here.
            member = prepared.member if exchange.hedged == hedged else None
            return Failed(failure, may_follow(plan, error.fault, member, ask, now))
        now = self._clock()
        plan.elapsed = now - exchange.began
        early, status = prepared.early, answer.response.head.status
        if early is None or not early.begun:
            gives_up = plan.retries_status(status, prepared.member, now)
            if plan.may_continue and (gives_up or (status >= 400 and plan.policy.enabled and plan.policy.codes)):
                kept = await keep(answer, prepared.translation)
                if status >= 400:
                    gives_up = plan.retries_error(status, kept.codes, prepared.member, now)
                return Failed(error_of(Fault.INVALID), proceed=gives_up, last=kept)
            if gives_up and plan.exhausted:
                exchange.extra = NOT_AGAIN
        if delivered(prepared, answer, plan, now):
            return None
        return await deliver(prepared, answer, plan, self._clock)

    async def _sent(self, exchange: Exchange, ask: Ask, prepared: Prepared, plan: FallbackPlan) -> Answer:
        """Send, and take note of how the provider reacts. Raises TransportError."""
        member = prepared.member
        began = prepared.sent_at = self._clock()
        try:
            answer = accept(member.provider, await self._sending(prepared), ask)
        except TransportError as error:
            self._failed(exchange, member, error)
            note_fault(member, error.fault, self._clock())
            raise
        now = self._clock()
        head = answer.response.head
        if answer.response.repeated:
            exchange.note_repeat(member.provider.name)
            note_repeat(member, now)
        note_head(member, head, now - began, now)
        if head.status >= 400:
            plan.rests(member, retry_after(head.lines, time.time()), now)
            self._not_found.note(member.provider, head.status, prepared.outbound.target)
            answer = await redacted(answer)
        return answer

    async def _hedged(
        self, exchange: Exchange, ask: Ask, prepared: Prepared, plan: FallbackPlan, hedge: HedgePolicy
    ) -> Won:
        def second() -> Prepared | None:
            member = plan.hedge(self._clock())
            if member is None or exchange.enter((member.limiter,), self._clock()) is not None:
                return None
            exchange.attempts = plan.attempts + len(exchange.repeats)
            exchange.hedged += 1
            try:
                return prepare(exchange, ask, member)
            except ProxyError:
                exchange.give_back(member.limiter)
                return None

        won = await first_answer(
            prepared,
            lambda attempted: self._sent(exchange, ask, attempted, plan),
            hedge.after,
            second,
            will_do=lambda answer: _is_worth_having(answer.response.head.status, plan),
            let_go=lambda lost: exchange.give_back(lost.member.limiter),
        )
        exchange.provider = won.prepared.member.provider.name
        if won.beaten is not None:
            now = self._clock()
            note_beaten(won.beaten.member, now - won.beaten.sent_at, now)
        return won

    async def _wait(self, plan: FallbackPlan) -> bool:
        """Back off before the next attempt, if there is to be one; False: none is allowed."""
        if not plan.may_continue:
            return False
        seconds = plan.backoff(self._clock())
        if seconds:
            await asyncio.sleep(seconds)
        return seconds is not None


def _set_aside(exchange: Exchange, plan: FallbackPlan, member: Member) -> None:
    """``member`` cannot take the request, and was not asked."""
    plan.set_aside(member)
    member.limiter.unspend()
    exchange.attempts = plan.attempts + len(exchange.repeats)
    if not plan.attempts:
        exchange.provider = ""


def _is_worth_having(status: int, plan: FallbackPlan) -> bool:
    """False of what a hedge may not bring upon a client whose own answer is still to come."""
    return status < 500 and status != 429 and not plan.retries_status(status)


def _nobody(target: LivePool) -> ProxyError:
    """No provider could even be tried: all are busy, or all are drained."""
    if any(member.provider.weight for member in target.members):
        return ProxyError(ErrorKind.CONCURRENCY_LIMIT, retry_after=1)
    return ProxyError(ErrorKind.NO_PROVIDER)
