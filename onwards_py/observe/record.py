"""What is recorded of an exchange: the row that the access log and the metrics read."""

from __future__ import annotations

from enum import Enum
from typing import Final

from onwards_py.auth import ANONYMOUS, Principal
from onwards_py.messages import Downstream, InboundRequest


class Outcome(Enum):
    """Who ended the exchange, and in which phase. A label of logs and metrics, so a closed set."""

    DONE = "done"  # answered whole, whatever the status
    REFUSED = "refused"  # the request was refused here, for a reason of its own
    OVERLOADED = "overloaded"  # refused here, for a reason of ours
    UPSTREAM_UNREACHABLE = "upstream_unreachable"  # no connection to any provider tried
    UPSTREAM_TIMEOUT = "upstream_timeout"  # no response head in time
    UPSTREAM_INVALID = "upstream_invalid"  # no valid response head
    UPSTREAM_CUT = "upstream_cut"  # the body broke off
    UPSTREAM_IDLE = "upstream_idle"  # the body stalled
    LIMIT = "limit"  # a size or total-time limit ended the body
    CLIENT_GONE_WAITING = "client_gone_waiting"  # the client left before the response began
    CLIENT_GONE_STREAMING = "client_gone_streaming"  # the client left, or took nothing, during the body
    INTERNAL = "internal"  # a defect of ours


_INTERNAL: Final = Outcome.INTERNAL


class Record:
    """Facts of one exchange. Times are monotonic seconds; ``committed`` is 0 until the response head went downstream.

    ``target`` and ``provider`` are configured names (empty: none was resolved), ``code`` is that of our own error.
    ``sink`` counts what was sent; None for a request that a door refused by itself.
    """

    __slots__ = (
        "attempts",
        "began",
        "code",
        "committed",
        "outcome",
        "principal",
        "provider",
        "request",
        "sink",
        "status",
        "target",
    )

    def __init__(self, request: InboundRequest, sink: Downstream | None, now: float) -> None:
        self.request = request
        self.sink = sink
        self.began = now
        self.committed = 0.0
        self.principal: Principal = ANONYMOUS
        self.target = ""
        self.provider = ""
        self.status = 0
        self.code = ""
        self.attempts = 0
        self.outcome = _INTERNAL
