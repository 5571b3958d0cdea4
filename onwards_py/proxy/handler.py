"""The life of a request on one screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from onwards_py.auth import ANONYMOUS, identify
from onwards_py.body_reading import BodyReading
from onwards_py.errors import ErrorKind, ProxyError, body_too_large
from onwards_py.limits.admission import LimiterSet
from onwards_py.live_state import ActiveConfig, ConfigHolder
from onwards_py.messages import Clock, Downstream, InboundRequest, Random
from onwards_py.observe.log_row import LogRow, refused_row
from onwards_py.observe.not_found_log import NotFoundLog
from onwards_py.observe.outcomes import RULE
from onwards_py.proxy.admission_queue import acquire_or_wait
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.retry import RetryLoop
from onwards_py.proxy.route_by import choose
from onwards_py.proxy.translate_request import LocalReply
from onwards_py.routing.classifier_question import route_question
from onwards_py.routing.model_list import answer_models
from onwards_py.routing.model_lookup import (
    Address,
    ScannedBody,
    address_from_header,
    check_query,
    checks_model,
    common_rename,
    model_from_header,
    model_from_query,
    needs_decoded_body,
    rewrite_model,
    scan_body,
)
from onwards_py.routing.routed_request import RoutedRequest, retarget, stores
from onwards_py.routing.table import ClassifierRoute, LivePool, Route, access_error, check_access
from onwards_py.routing.translated_paths import refusal_without_model
from onwards_py.transports.base import Transports
from onwards_py.wire.model_scan import AT_ONCE, BodyFlags, scan
from onwards_py.wire.request_head import RequestHead
from onwards_py.wire.target_url import origin_form

_READS = (b"GET", b"HEAD")
_MODEL_REQUIRED: Final = ErrorKind.MODEL_REQUIRED


class RowRecorder(Protocol):
    """Counts and logs exchanges that have ended."""

    def record(self, row: LogRow) -> None: ...


class Proxy:
    """The one handler behind both doors.

    ``clock`` gives monotonic seconds, ``random`` numbers in [0, 1), ``started`` is the process's start in Unix
    seconds. ``in_flight`` counts the exchanges that have not ended.
    ``is_own_connection`` recognises connections from this process.
    """

    def __init__(
        self,
        holder: ConfigHolder,
        transports: Transports,
        recorder: RowRecorder,
        *,
        clock: Clock,
        random: Random,
        started: int,
        is_own_connection: Callable[[str, int], bool],
        not_found: NotFoundLog,
    ) -> None:
        self.is_own_connection = is_own_connection
        self.config = holder
        self._attempts = RetryLoop(transports, clock, random, not_found)
        self._recorder = recorder
        self._clock = clock
        self._started = started
        self.in_flight = 0
        # Small bodies must not queue behind large ones. Bodies with a content coding are larger than they seem.
        self._small = BodyReading(clock)
        self._large = BodyReading(clock)

    async def handle(self, request: InboundRequest, head: RequestHead, downstream: Downstream) -> None:
        """Serve one request. In every case, its permits are released and a log row is recorded."""
        exchange = Exchange(request, downstream, self._clock())
        self.in_flight += 1
        try:
            current = self.config.current
            routed = self._admit(exchange, head, current)
            if routed is None:
                if exchange.status:
                    return
                routed = await self._admit_slowly(exchange, head, current)
            if not exchange.try_acquire(routed.limiter_set, exchange.began):
                await acquire_or_wait(exchange, routed.limiter_set.limiters, self._clock)
            if routed.target.classifier_route is not None:
                routed = await self._route_by_classifier(exchange, routed, routed.target.classifier_route)
            failed = await self._attempts.serve(exchange, routed)
            if failed is not None:
                failed.send(exchange, self._clock())
        except ProxyError as error:
            if error.limit is not None:
                exchange.refund()
            if error.kind is _MODEL_REQUIRED:
                error = self._path_error(exchange, head) or error
            exchange.refuse(error)
        except LocalReply as answered:
            exchange.answer(answered.body, self._clock())
        except asyncio.CancelledError:
            exchange.client_left()
            raise
        finally:
            self.in_flight -= 1
            exchange.close()
            self._recorder.record(exchange.log_row(self._clock()))

    def _admit(
        self, exchange: Exchange, head: RequestHead, current: ActiveConfig, address: Address | None = None
    ) -> RoutedRequest | None:
        """Identify the caller, find the model and check access. None if the request was answered (then the exchange has
        a status), or if its body must be read first, to get ``address``. Raises ProxyError."""
        request = exchange.request
        path = head.path
        if not path:
            path = head.path = origin_form(request.target)
        principal = ANONYMOUS
        if current.needs_principal:
            exchange.principal = principal = current.principal_of(head)
        if request.method in _READS and head.model_override is None and address is None:
            listing = answer_models(path, current.table, principal, self._started)
            if listing is not None:
                exchange.answer(listing, self._clock())
                return None
        if current.accepted_digests is not None and principal.digest not in current.accepted_digests:
            raise access_error(principal)  # before the body of a caller without access to any target is read
        if address is None:
            body = request.body
            if not head.plain or len(body) > AT_ONCE:
                return None
            if not body:
                raise ProxyError(ErrorKind.MODEL_REQUIRED, param="model")
            span = scan(body)
            address = Address(span.name, body, span)
        route = head.route
        if type(route) is not Route or head.resolved_by is not current.generation or head.model != address.model:
            route = current.route_to(address.model, head, principal)
        pool = route.target.pool
        exchange.target = pool.name
        if len(request.body) > pool.max_body or len(address.body) > pool.max_body:
            raise body_too_large(pool.max_body)
        limiter_set = route.limiter_set
        if head.upgrade is not None and route.target.single is not None:  # acquired with each attempt
            single = route.target.single.limiter
            limiter_set = LimiterSet.of(tuple(limiter for limiter in limiter_set.limiters if limiter is not single))
        routed = RoutedRequest(request, head, address, path, route.target, limiter_set, exchange.began)
        if not route.redirected:
            return routed
        exchange.routed_from, exchange.reason = address.model, RULE
        return retarget(routed, route.target)

    async def _admit_slowly(self, exchange: Exchange, head: RequestHead, current: ActiveConfig) -> RoutedRequest:
        """`_admit` for a request whose body must be read first. Raises ProxyError."""
        routed = self._admit(exchange, head, current, await self._read(exchange.request, head, current))
        assert routed is not None
        if routed.address.decoded and not routed.rewritten and not needs_decoded_body(routed.target):
            # The decoded copy may have a hundred times the size, and would be kept until the provider has responded.
            notes = routed.address.notes or BodyFlags(stores=stores(routed))
            address = Address(routed.address.model, exchange.request.body, notes=notes)
            return msgspec.structs.replace(routed, address=address)
        provider = common_rename(routed.address, routed.target.pool)
        if provider is None:
            return routed
        address = await self._large.run(rewrite_model(routed.address, provider))
        return msgspec.structs.replace(routed, address=address)

    async def _read(self, request: InboundRequest, head: RequestHead, current: ActiveConfig) -> Address:
        """The address of a request whose model is in a header or the query, or whose body is large, coded or a form.
        Raises ProxyError."""
        body = request.body
        if head.model_override is None:
            if head.upgrade == b"websocket" and request.method == b"GET":
                return Address(model_from_query(request.target), body)
            if not body:
                raise ProxyError(ErrorKind.MODEL_REQUIRED, param="model")
            return (await self._read_body(head, body, current.snapshot.max_body)).address()
        name = model_from_header(head.model_override)
        principal = current.principal_of(head) if current.needs_principal else ANONYMOUS
        route = current.route_to(name, head, principal)
        if not checks_model(route):
            return Address(name, body)
        check_query(request, head, route, name)
        limit = route.target.pool.max_body
        if not body or len(body) > limit:  # too large: `_admit` rejects it
            return Address(name, body)
        return address_from_header(name, await self._read_body(head, body, limit), route)

    async def _read_body(self, head: RequestHead, body: bytes, limit: int) -> ScannedBody:
        reading = self._large if len(body) > AT_ONCE else self._small
        return await reading.run(scan_body(head, body, limit))

    def _path_error(self, exchange: Exchange, head: RequestHead) -> ProxyError | None:
        """The error for a request without a model, if it is the same for every model; None: the model is required."""
        table = self.config.current.table
        names = table.list_models(exchange.principal)
        targets = filter(None, map(table.find, names))
        return refusal_without_model(targets, head.path or exchange.request.target, exchange.request.method)

    async def _route_by_classifier(
        self, exchange: Exchange, routed: RoutedRequest, route: ClassifierRoute
    ) -> RoutedRequest:
        """The request, routed to the target that the classifier chooses. Raises ProxyError."""
        began = self._clock()
        choice = await choose(routed, route, self._subrequest)
        target = choice.target
        exchange.routed_from, exchange.reason = exchange.target, choice.reason
        exchange.route_by_seconds = self._clock() - began
        check_access(target, exchange.principal)
        exchange.target = target.pool.name
        await acquire_or_wait(
            exchange, target.limiters if routed.head.upgrade is None else (target.limiter,), self._clock
        )
        return retarget(routed, target)

    async def _subrequest(self, request: InboundRequest, downstream: Downstream, target: LivePool) -> None:
        """Serve a request of the proxy's own at a target, without checking the caller's access to that target."""
        exchange = Exchange(request, downstream, self._clock())
        exchange.target = target.pool.name
        try:
            rejection = exchange.acquire((target.limiter,), exchange.began)
            if rejection is not None:
                raise rejection.error
            if target.single is not None:
                await acquire_or_wait(exchange, (target.single.limiter,), self._clock)
            failed = await self._attempts.serve(exchange, route_question(request, target, exchange.began))
            if failed is not None:
                failed.send(exchange, self._clock())
        except ProxyError as error:
            exchange.refuse(error)
        except asyncio.CancelledError:
            exchange.client_left()
            raise
        finally:
            exchange.close()
            self._recorder.record(exchange.log_row(self._clock()))

    def precheck(self, target: bytes, head: RequestHead) -> None:
        """Make the checks that need only the head, before 100 (Continue) (RFC 9110 section 10.1.1). Raises
        ProxyError."""
        current = self.config.current
        origin_form(target)
        principal = identify(head.authorization, head.api_key, current.snapshot.key_definitions)
        if head.model_override is not None:
            pool = current.table.resolve(model_from_header(head.model_override), principal).target.pool
            if head.content_length is not None and head.content_length > pool.max_body:
                raise body_too_large(pool.max_body)
        elif not current.table.may_use_any(principal):
            raise access_error(principal)

    def record_refusal(self, request: InboundRequest, error: ProxyError) -> None:
        """Record a request that a door refused by itself."""
        self._recorder.record(refused_row(request, error, self._clock()))
