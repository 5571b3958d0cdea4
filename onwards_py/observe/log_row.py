"""The row that the access log and the metrics read: the facts of one exchange, recorded once when it ended."""

from __future__ import annotations

import msgspec

from onwards_py.errors import ProxyError
from onwards_py.messages import InboundRequest
from onwards_py.observe.outcomes import INTERNAL, Outcome, outcome_of_error


class LogRow(msgspec.Struct, frozen=True, gc=False):
    """One exchange that ended. A row has only values: it does not keep a request or a connection alive.

    Times are seconds of a monotonic clock. The order of the first fields is fixed: `Exchange.log_row` passes them by
    position, which costs a third of passing them by name.
    """

    began: float
    committed: float
    """Time at which the response head was sent to the client; 0.0: it was not sent."""
    ended: float
    method: bytes
    request_target: bytes
    peer: str
    bytes_in: int
    bytes_out: int = 0
    key: str | None = None
    """Name of the caller's key, never the token."""
    target: str = ""
    """The configured target; empty: the model did not resolve to a target."""
    provider: str = ""
    """The configured provider of the last attempt; empty: no attempt was made."""
    status: int = 0
    outcome: Outcome = INTERNAL
    code: str = ""
    """``code`` of the error that the proxy itself created."""
    attempts: int = 0
    """How often the request was sent."""
    routed_from: str = ""
    """The target that the client named, if a classifier or a routing rule chose another one."""
    limited_tokens: int | None = None
    """Tokens charged to limits in tokens; None: no such limit applied."""
    hedged: int = 0
    """Hedged attempts: those that began while another one was running."""
    repeats: tuple[str, ...] = ()
    """Providers to which the request was sent once more because a reused connection had failed."""
    over_budget: bool = False
    """The retry budget did not allow a further attempt."""
    repaired: bool = False
    """`repair` changed the stream."""
    reason: str = ""
    """Why the exchange was routed away from ``routed_from``."""
    route_by_seconds: float = 0.0
    """Time that the classifier took."""
    dropped: tuple[str, ...] = ()
    """Parts of the request or the answer that the translation dropped."""


def refused_row(request: InboundRequest, error: ProxyError, now: float) -> LogRow:
    """The row of a request that a door refused by itself."""
    return LogRow(
        now,
        0.0,
        now,
        request.method,
        request.target,
        request.peer,
        len(request.body),
        status=error.kind.value.status,
        outcome=outcome_of_error(error),
        code=error.code,
    )
