"""The life of a request on one screen."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from onwards_py.auth import ANONYMOUS, identify
from onwards_py.errors import Kind, ProxyError, body_too_large
from onwards_py.live_state import Holder
from onwards_py.messages import Downstream, Fault, Filter, InboundRequest
from onwards_py.observe.record import Record
from onwards_py.proxy.addressing import Address, find_address, header_model, is_responses
from onwards_py.proxy.attempt import Answer, Ask, Transports, accept, error_of, outbound_request
from onwards_py.proxy.early_stream import EarlyStream
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.leading import choose, led_to, located, question_to
from onwards_py.proxy.models import answer_models
from onwards_py.proxy.translate import (
    AnsweredHere,
    FailedAnswer,
    Translation,
    begin_early,
    pass_on_error,
    pass_on_translated,
    translate,
)
from onwards_py.proxy.tunnel import open_tunnel, run_tunnel, wants_tunnel
from onwards_py.routing.balancer import Member
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.table import Leads, LivePool, enter, refusal
from onwards_py.transcode.repair import Repair
from onwards_py.transports.base import TransportError
from onwards_py.wire.model_scan import scan
from onwards_py.wire.rechunk import Rechunker
from onwards_py.wire.request_head import RequestHead
from onwards_py.wire.target_url import origin_form

_log = logging.getLogger("onwards.proxy")

_READS = (b"GET", b"HEAD")
_KEPT_SECONDS = 2.0
_KEPT_BODY = 1024 * 1024  # of a response that is given up for another attempt, but may still be the last


class Recorder(Protocol):
    """Takes note of exchanges that have ended."""

    def ended(self, record: Record, now: float) -> None: ...


class Proxy:
    """The one handler behind both doors.

    ``clock`` gives monotonic seconds, ``random`` numbers in [0, 1), ``started`` is the process's start in Unix
    seconds. ``in_flight`` counts the exchanges that are going on.
    """

    def __init__(
        self,
        holder: Holder,
        transports: Transports,
        recorder: Recorder,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        started: int,
    ) -> None:
        self._holder = holder
        self._transports = transports
        self._recorder = recorder
        self._clock = clock
        self._random = random
        self._started = started
        self.in_flight = 0

    @property
    def max_body(self) -> int:
        return self._holder.current.snapshot.max_body

    async def handle(self, request: InboundRequest, head: RequestHead, downstream: Downstream) -> None:
        """Answer one request; every way out gives the permits back and leaves a record."""
        exchange = Exchange(request, downstream, self._clock())
        self.in_flight += 1
        try:
            ask = self._take_in(exchange, head)
            if ask is None:
                return
            sole = ask.target.sole
            if sole is None and ask.target.leads is not None:
                ask = await self._lead_on(exchange, ask, ask.target.leads)
                sole = ask.target.sole
            if ask.head.upgrade is not None and wants_tunnel(ask):
                await self._tunnel(exchange, ask)
            elif sole is None or sole.limiter.bounded:
                await self._try_providers(exchange, ask)
            else:
                await self._try_only(exchange, sole, ask)
        except ProxyError as error:
            exchange.refuse(error)
        except AnsweredHere as answered:
            exchange.answer(answered.body, self._clock())
        except asyncio.CancelledError:
            exchange.client_left()
            raise
        finally:
            self.in_flight -= 1
            exchange.close()
            self._recorder.ended(exchange, self._clock())

    def _take_in(self, exchange: Exchange, head: RequestHead) -> Ask | None:
        """Who calls, for which model, and may they: the ask, or None if it was answered here. Raises ProxyError."""
        current, request = self._holder.current, exchange.request
        path = head.path
        if not path:
            path = head.path = origin_form(request.target)
        principal = ANONYMOUS
        if current.identifies:
            principal = identify(head.authorization, head.api_key, current.snapshot.key_definitions)
            exchange.principal = principal
        if request.method in _READS and head.model_override is None:
            listing = answer_models(path, current.table, principal, self._started)
            if listing is not None:
                exchange.answer(listing, self._clock())
                return None
        if head.plain and request.body:
            span = scan(request.body)
            address = Address(span.name, request.body, span)
        else:
            address = find_address(request, head, current.snapshot.max_body)
        route = current.table.resolve(address.model, principal)
        pool = route.target.pool
        exchange.target = pool.name
        if len(request.body) > pool.max_body or len(address.body) > pool.max_body:
            raise body_too_large(pool.max_body)
        exchange.admit(route.limiters, exchange.began)
        return Ask(request, head, address, path, route.target, exchange.began)

    async def _lead_on(self, exchange: Exchange, ask: Ask, leads: Leads) -> Ask:
        """The ask as the target that the classifier chooses is to have it. Raises ProxyError."""
        began = self._clock()
        ask = located(ask)
        choice = await choose(ask, leads, self._inquire)
        target = choice.target
        exchange.via, exchange.reason, exchange.choosing = exchange.target, choice.reason, self._clock() - began
        enter(target, exchange.principal)
        exchange.target = target.pool.name
        exchange.admit((target.limiter,), self._clock())
        return led_to(ask, target)

    async def _inquire(self, request: InboundRequest, downstream: Downstream, target: LivePool) -> None:
        """An exchange of our own making, with a target that need not be open to whoever asks."""
        exchange = Exchange(request, downstream, self._clock())
        exchange.target = target.pool.name
        try:
            exchange.admit((target.limiter,), exchange.began)
            await self._try_providers(exchange, question_to(request, target, exchange.began))
        except ProxyError as error:
            exchange.refuse(error)
        except asyncio.CancelledError:
            exchange.client_left()
            raise
        finally:
            exchange.close()
            self._recorder.ended(exchange, self._clock())

    async def _try_only(self, exchange: Exchange, member: Member, ask: Ask) -> None:
        """The most frequent plan: one provider, one attempt, no limit of its own."""
        provider = member.provider
        exchange.attempts = 1
        exchange.provider = provider.name
        member.limiter.in_flight += 1
        exchange.held.append(member.limiter)
        translation = translate(provider, ask, exchange.principal) if provider.translates else None
        outbound = outbound_request(provider, ask) if translation is None else translation.outbound
        early = None if translation is None else begin_early(exchange, provider, translation)
        try:
            sending = self._transports.of(provider).send(provider, outbound)
            answer = accept(provider, await (sending if early is None else early.during(sending)), ask)
        except TransportError as error:
            _log.warning("provider %s of %s failed: %s", provider.name, exchange.target, error)
            failure = error_of(error.fault, error.advice)
            if early is not None and early.give_up(failure):
                return
            raise failure from error
        if translation is not None:
            failed = await self._deliver(exchange, answer, translation, ask, early)
            if failed is not None:
                failed.send(exchange, self._clock())
        elif not self._pass_on_whole(exchange, answer):
            await self._stream(exchange, answer, ask)

    async def _try_providers(self, exchange: Exchange, ask: Ask) -> None:
        """Ask providers in the plan's order until one answers for good."""
        pool = ask.target.pool
        plan = FallbackPlan(pool.fallback, pool.strategy, ask.target.members, self._random)
        kept: Kept | FailedAnswer | None = None
        failure: ProxyError | None = None
        while (member := plan.next()) is not None:
            exchange.attempts = plan.attempts
            exchange.provider = member.provider.name
            try:
                exchange.admit((member.limiter,), self._clock())
            except ProxyError as refusal:
                failure = refusal
                if plan.retries_rate_limit():
                    continue
                break
            provider = member.provider
            translation = translate(provider, ask, exchange.principal) if provider.translates else None
            outbound = outbound_request(provider, ask) if translation is None else translation.outbound
            early = None if translation is None else begin_early(exchange, provider, translation)
            try:
                sending = self._transports.of(provider).send(provider, outbound)
                answer = accept(provider, await (sending if early is None else early.during(sending)), ask)
            except TransportError as error:
                _log.warning("provider %s of %s failed: %s", member.provider.name, pool.name, error)
                failure = error_of(error.fault, error.advice)
                if early is not None and early.give_up(failure):
                    return
                plan.elapsed = self._clock() - exchange.began
                proceed = plan.retries_fault(error.fault, repeatable=ask.repeatable)
            else:
                plan.elapsed = self._clock() - exchange.began
                again = plan.retries_status(answer.response.head.status) and plan.may_continue
                if again and not (early is not None and early.begun):
                    kept = await _keep(answer, translation) or kept
                    proceed = True
                else:
                    failed = await self._deliver(exchange, answer, translation, ask, early)
                    if failed is None:
                        return
                    kept = failed
                    proceed = _retries(plan, failed, ask)
                failure = error_of(Fault.INVALID)
            exchange.give_back(member.limiter)
            if not proceed or not await self._wait(plan):
                break
        if kept is not None:
            kept.send(exchange, self._clock())
        else:
            raise failure or _nobody(ask.target)

    async def _deliver(
        self,
        exchange: Exchange,
        answer: Answer,
        translation: Translation | None,
        ask: Ask,
        early: EarlyStream | None,
    ) -> FailedAnswer | None:
        """Give the client a provider's answer; returns it instead if it turns out to be none."""
        if translation is not None:
            exchange.dropped = translation.dropped
            return await pass_on_translated(exchange, answer, translation, self._clock(), early)
        if not self._pass_on_whole(exchange, answer):
            await self._stream(exchange, answer, ask)
        return None

    def _pass_on_whole(self, exchange: Exchange, answer: Answer) -> bool:
        """Commit and conclude in one, if all of the body is there and nothing is to be done to it."""
        if answer.facts.event_stream or (body := answer.response.whole()) is None:
            return False
        exchange.pass_on(answer.response.head, answer.facts, body, self._clock())
        return True

    async def _stream(self, exchange: Exchange, answer: Answer, ask: Ask) -> None:
        """Commit: the head goes downstream, then the body until its end."""
        provider, facts, response = answer.provider, answer.facts, answer.response
        exchange.commit(response.head.status, response.head.reason, facts.block, facts.length, self._clock())
        pipeline: tuple[Filter, ...] = ()
        if facts.event_stream and provider.repair and facts.length is None and is_responses(ask.path):
            pipeline = (Repair(int(time.time()), ask.address.model, limit=provider.max_event_bytes),)
        elif facts.event_stream and provider.rechunk:
            pipeline = (Rechunker(provider.max_event_bytes),)
        exchange.conclude(await response.pump(pipeline, exchange.downstream))

    async def _tunnel(self, exchange: Exchange, ask: Ask) -> None:
        """Ask providers to speak WebSocket until one answers; then it is between client and provider."""
        pool = ask.target.pool
        plan = FallbackPlan(pool.fallback, pool.strategy, ask.target.members, self._random)
        failure = _nobody(ask.target)
        while (member := plan.next()) is not None:
            exchange.attempts = plan.attempts
            exchange.provider = member.provider.name
            exchange.admit((member.limiter,), self._clock())
            try:
                handshake = await open_tunnel(member.provider, ask)
            except TransportError as error:
                _log.warning("provider %s of %s failed: %s", member.provider.name, pool.name, error)
                failure = error_of(error.fault, error.advice)
                plan.elapsed = self._clock() - exchange.began
                exchange.give_back(member.limiter)
                if not plan.retries_fault(error.fault, repeatable=True) or not await self._wait(plan):
                    break
            else:
                await run_tunnel(exchange, member.provider, handshake, self._clock())
                return
        raise failure

    async def _wait(self, plan: FallbackPlan) -> bool:
        """Back off before the next attempt, if there is to be one; False: waiting longer is not allowed."""
        if not plan.may_continue:
            return False
        seconds = plan.backoff()
        if seconds:
            await asyncio.sleep(seconds)
        return seconds is not None

    def precheck(self, target: bytes, head: RequestHead) -> None:
        """Refuse what the head alone decides, before a body is asked for (RFC 9110 section 10.1.1)."""
        current = self._holder.current
        origin_form(target)
        principal = identify(head.authorization, head.api_key, current.snapshot.key_definitions)
        if head.model_override is not None:
            pool = current.table.resolve(header_model(head.model_override), principal).target.pool
            if head.content_length is not None and head.content_length > pool.max_body:
                raise body_too_large(pool.max_body)
        elif not current.table.visible(principal):
            raise refusal(principal)

    def refused(self, request: InboundRequest, error: ProxyError) -> None:
        """Take note of a request that a door refused by itself."""
        exchange = Exchange(request, None, self._clock())
        exchange.note_refusal(error)
        self._recorder.ended(exchange, self._clock())


@dataclass(slots=True)
class Kept:
    """A whole response that was given up for another attempt; the last one is sent if no other comes."""

    answer: Answer
    body: bytes
    translation: Translation | None

    def send(self, exchange: Exchange, now: float) -> None:
        exchange.provider = self.answer.provider.name
        if self.translation is not None:
            pass_on_error(exchange, self.answer, self.body, self.translation, now)
        else:
            exchange.pass_on(self.answer.response.head, self.answer.facts, self.body, now)


async def _keep(answer: Answer, translation: Translation | None) -> Kept | None:
    """Read a response that is to be given up; this also frees its connection for the next attempt."""
    timer = asyncio.get_running_loop().call_later(_KEPT_SECONDS, answer.response.discard)
    try:
        body = await answer.response.read(_KEPT_BODY)
    finally:
        timer.cancel()
    return Kept(answer, body, translation) if body is not None else None


def _retries(plan: FallbackPlan, failed: FailedAnswer, ask: Ask) -> bool:
    """True if an answer that failed before anything of it was told moves the exchange on."""
    if failed.fault is None:
        return plan.retries_status(failed.status)
    return plan.retries_fault(failed.fault, repeatable=ask.repeatable)


def _nobody(target: LivePool) -> ProxyError:
    """No provider could even be tried: all are busy, or all are drained."""
    if any(member.provider.weight for member in target.members):
        return ProxyError(Kind.CONCURRENCY_LIMIT, retry_after=1)
    return ProxyError(Kind.NO_PROVIDER)
