"""How exchanges end: the ``outcome`` of logs and metrics, a closed set."""

from __future__ import annotations

from typing import Final, Literal, get_args

# The side that ended the exchange, and in which phase.
DONE: Final = "done"  # answered whole, whatever the status
REFUSED: Final = "refused"  # the request was refused here, for a reason of its own
OVERLOADED: Final = "overloaded"  # refused here, for a reason of ours
UPSTREAM_UNREACHABLE: Final = "upstream_unreachable"  # no connection to any provider tried
UPSTREAM_TIMEOUT: Final = "upstream_timeout"  # no response head in time
UPSTREAM_INVALID: Final = "upstream_invalid"  # no valid response head
UPSTREAM_CUT: Final = "upstream_cut"  # the body broke off
UPSTREAM_IDLE: Final = "upstream_idle"  # the body stalled
SIZE_OR_TIME_LIMIT: Final = "size_or_time_limit"  # a size or total-time limit ended the body
CLIENT_GONE_WAITING: Final = "client_gone_waiting"  # the client left before the response began
CLIENT_GONE_STREAMING: Final = "client_gone_streaming"  # the client left, or took nothing, during the body
INTERNAL: Final = "internal"  # a defect of ours

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
