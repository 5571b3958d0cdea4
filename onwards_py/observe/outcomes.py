"""How exchanges end: the ``outcome`` of logs and metrics, a closed set."""

from __future__ import annotations

from typing import Final, Literal, assert_never, get_args

from onwards_py.errors import ErrorKind, ErrorOrigin, ProxyError
from onwards_py.messages import Ending

# Each outcome names the side that ended the exchange, and the phase in which it did.
DONE: Final = "done"  # a complete response, with any status
REFUSED: Final = "refused"  # rejected by the proxy because of the request
OVERLOADED: Final = "overloaded"  # rejected by the proxy because of its own state
UPSTREAM_UNREACHABLE: Final = "upstream_unreachable"  # no connection to any provider tried
UPSTREAM_TIMEOUT: Final = "upstream_timeout"  # no response head in time
UPSTREAM_INVALID: Final = "upstream_invalid"  # no valid response head
UPSTREAM_CUT: Final = "upstream_cut"  # the body was truncated
UPSTREAM_IDLE: Final = "upstream_idle"  # the body stalled
SIZE_OR_TIME_LIMIT: Final = "size_or_time_limit"  # a size or total-time limit ended the body
CLIENT_GONE_WAITING: Final = "client_gone_waiting"  # the client disconnected before the response started
CLIENT_GONE_STREAMING: Final = "client_gone_streaming"  # the client disconnected or did not read during the body
INTERNAL: Final = "internal"  # a defect of the proxy

RULE: Final = "rule"  # the reason of a `route_by` metric where a routing rule redirected, and not a classifier

Outcome = Literal[
    "done",
    "refused",
    "overloaded",
    "upstream_unreachable",
    "upstream_timeout",
    "upstream_invalid",
    "upstream_cut",
    "upstream_idle",
    "size_or_time_limit",
    "client_gone_waiting",
    "client_gone_streaming",
    "internal",
]
OUTCOMES: Final = get_args(Outcome)

_OF_ERRORS: Final[dict[ErrorKind, Outcome]] = {
    ErrorKind.UPSTREAM_UNREACHABLE: UPSTREAM_UNREACHABLE,
    ErrorKind.LOCAL_UNAVAILABLE: UPSTREAM_UNREACHABLE,
    ErrorKind.UPSTREAM_TIMEOUT: UPSTREAM_TIMEOUT,
    ErrorKind.UPSTREAM_INVALID: UPSTREAM_INVALID,
}


def outcome_of_error(error: ProxyError) -> Outcome:
    """The outcome of an exchange whose response is ``error``."""
    origin = error.kind.value.origin
    if origin is ErrorOrigin.CLIENT:
        return REFUSED
    if origin is ErrorOrigin.PROXY:
        return INTERNAL if error.kind is ErrorKind.INTERNAL else OVERLOADED
    if origin is ErrorOrigin.UPSTREAM:
        return _OF_ERRORS[error.kind]
    assert_never(origin)


def outcome_of_ending(ending: Ending) -> Outcome:
    """The outcome of an exchange whose response body ended by ``ending``."""
    if ending is Ending.DONE:
        return DONE
    if ending is Ending.EOF or ending is Ending.RESET:
        return UPSTREAM_CUT
    if ending is Ending.IDLE:
        return UPSTREAM_IDLE
    if ending is Ending.LIMIT:
        return SIZE_OR_TIME_LIMIT
    if ending is Ending.CLIENT_GONE:
        return CLIENT_GONE_STREAMING
    assert_never(ending)
