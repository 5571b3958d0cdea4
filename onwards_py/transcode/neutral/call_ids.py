"""Call ids that every provider accepts: one for a call and its output, with a table that restores the client's."""

from __future__ import annotations

import hashlib
import re

LONGEST = 64
_NINE = re.compile(r"[A-Za-z0-9]{9}")


class CallIds:
    """Converts the client's call ids to the provider's; ``changed`` maps each changed id to the client's."""

    __slots__ = ("_changed", "_short")

    def __init__(self, short: bool, changed: dict[str, str]) -> None:
        self._short = short
        self._changed = changed

    def shortened(self, call_id: str) -> str:
        """``call_id`` if it is short enough, else an id made from its digest: truncated ids could collide."""
        if self._short:
            if _NINE.fullmatch(call_id):
                return call_id
            made = _digest(call_id)[:9]
        elif len(call_id) <= LONGEST:
            return call_id
        else:
            made = f"call_{_digest(call_id)[:48]}"
        self._changed[made] = call_id
        return made


def _digest(call_id: str) -> str:
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()
