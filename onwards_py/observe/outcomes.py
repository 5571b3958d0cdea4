"""How exchanges end: the ``outcome`` of logs and metrics, a closed set."""

from __future__ import annotations

from typing import Final, Literal, get_args

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
