"""What is recorded of an exchange: the row that the access log and the metrics read."""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

from onwards_py.auth import ANONYMOUS, Principal
from onwards_py.limits.counters import Limiter
from onwards_py.messages import Downstream, InboundRequest
from onwards_py.transcode.responses.repair.filter import Repair
from onwards_py.wire.usage import UsageScanner

# Who ended the exchange, and in which phase: a label of logs and metrics, so a closed set.
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

RULE: Final = "rule"  # why an exchange was led to another target: a routing rule, not what a classifier said

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


class Record(msgspec.Struct):
    """Facts of one exchange. Times are monotonic seconds; ``committed`` is 0 until the response head went downstream.

    ``target`` and ``provider`` are configured names (empty: none was resolved), ``code`` is that of our own error.
    ``routed_from`` is the target that led to ``target`` (empty: the client named it itself), ``reason`` why there, and
    ``route_by_seconds`` the seconds that this took. ``dropped``: parts of the request that did not reach the provider.
    ``_downstream`` counts what was sent; None for a request that a door refused by itself. ``permits``: permits to give
    back. ``metered``: some of them are bounded in tokens, which ``usage_scanner`` sees in the answer as it passes;
    ``estimate`` are those that the prompt was taken for, ``counted`` those that were used. ``extra_headers``: field
    lines for whatever answer is given. ``repair`` knows what was put right in the provider's stream. ``attempts``: how
    often the request was sent; of these, once for each provider in ``repeats`` because a kept connection had died, and
    ``hedged`` times while another attempt was going on.
    ``over_budget``: a further attempt was not made because the pool had made too many. ``ended`` and the byte counts
    are there from `finalize` on.
    """

    request: InboundRequest
    _downstream: Downstream | None
    began: float
    committed: float = 0.0
    principal: Principal = ANONYMOUS
    target: str = ""
    provider: str = ""
    status: int = 0
    code: str = ""
    attempts: int = 0
    outcome: Outcome = INTERNAL
    routed_from: str = ""
    reason: str = ""
    route_by_seconds: float = 0.0
    dropped: tuple[str, ...] = ()
    permits: list[Limiter] = []
    metered: bool = False
    usage_scanner: UsageScanner | None = None
    estimate: int = 0
    counted: int = 0
    bytes_per_token: int = 1
    extra_headers: bytes = b""
    repair: Repair | None = None
    hedged: int = 0
    repeats: tuple[str, ...] = ()
    over_budget: bool = False
    ended: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0

    def finalize(self, now: float) -> None:
        """The exchange is over: keep its figures, and let go of its body and its connection."""
        self.ended = now
        self.bytes_in = len(self.request.body)
        self.request.body = b""
        if self._downstream is not None:
            self.bytes_out = self._downstream.sent
            self._downstream = None
