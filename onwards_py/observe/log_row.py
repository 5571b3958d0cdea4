"""The row that the access log and the metrics read: the facts of one exchange, written down once when it ended."""

from __future__ import annotations

import msgspec

from onwards_py.observe.outcomes import INTERNAL, Outcome


class LogRow(msgspec.Struct, frozen=True, gc=False):
    """One exchange that ended. Values only: a row keeps neither request nor connection alive.

    Times are seconds of a monotonic clock. The order of the first fields is fixed: `Exchange.log_row` gives them by
    position, which costs a third of giving them by name.
    """

    began: float
    committed: float
    """When the response head was sent to the client; 0.0: it never was."""
    ended: float
    method: bytes
    request_target: bytes
    peer: str
    bytes_in: int
    bytes_out: int = 0
    key: str | None = None
    """Name of the caller's key, never the token."""
    target: str = ""
    """The configured target; empty: none was resolved."""
    provider: str = ""
    """The configured provider of the last attempt; empty: none was tried."""
    status: int = 0
    outcome: Outcome = INTERNAL
    code: str = ""
    """``code`` of the proxy's own error."""
    attempts: int = 0
    """How often the request was sent."""
    routed_from: str = ""
    """The target that the client named, if a classifier or a routing rule chose another one."""
    limited_tokens: int | None = None
    """Tokens charged to limits in tokens; None: no such limit applied."""
    hedged: int = 0
    """Attempts that were made while another one was running."""
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
    """Parts of the request or the answer that the translation left out."""
