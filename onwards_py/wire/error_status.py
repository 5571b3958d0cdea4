"""The HTTP status of an error inside a response with another status, such as 200. Pure."""

from __future__ import annotations

import re
from typing import Final

from onwards_py.wire.context_overflow import is_context_overflow, is_throttling
from onwards_py.wire.error_codes import NAMES

_NUMBERS: Final = ("code", "status", "status_code", "http_code")
_MESSAGES: Final = ("message", "detail")
_TOO_LONG: Final = 400
_THROTTLED: Final = 429
_UNKNOWN: Final = 500

# The first match decides: codes of OpenAI, Anthropic, Google, Azure and of the engines, in any spelling.
_BY_NAME: Final = (
    (re.compile(r"rate.?limit|insufficient.?quota|quota|too.?many.?requests|resource.?exhausted|throttl"), 429),
    (re.compile(r"overload|unavailable|capacity|slow.?down"), 503),
    (re.compile(r"authenticat|invalid.?api.?key|unauthori[sz]ed"), 401),
    (re.compile(r"permission|forbidden|access.?denied"), 403),
    (re.compile(r"billing|payment|insufficient.?(balance|credit|funds)"), 402),
    (re.compile(r"not.?found"), 404),
    (re.compile(r"too.?large"), 413),
    (re.compile(r"time.?d?.?out|deadline"), 504),
    (re.compile(r"invalid|validation|bad.?request|context.?length|content.?(policy|filter)"), 400),
)


def error_status(error: object, around: dict[str, object] | None = None) -> int:
    """A status from 400 to 599. ``error``: an object, or the value in its place. ``around``: the object that holds it.

    A number from 400 to 599 decides.
    Otherwise a code decides, the most specific one first.
    Otherwise a message about a context overflow or a rate limit decides: many providers have no code for these.
    Otherwise the status is 500.
    """
    objects = [value for value in (error, around) if isinstance(value, dict)]
    nested = error.get("error") if isinstance(error, dict) else None
    if isinstance(nested, dict):
        objects.insert(0, nested)
    for each in objects:
        for member in _NUMBERS:
            status = _as_status(each.get(member))
            if status is not None:
                return status
    names = [each.get(member) for each in objects for member in NAMES]
    if is_context_overflow(names, (error,)):
        return _TOO_LONG
    if isinstance(error, str):
        names.append(error)
    named = next((status for name in names if (status := _by_name(name)) is not None), None)
    if named is not None:
        return named
    messages = [each.get(member) for each in objects for member in _MESSAGES]
    messages.append(error)
    if is_context_overflow((), messages):
        return _TOO_LONG
    return _THROTTLED if is_throttling(messages) else _UNKNOWN


def _as_status(value: object) -> int | None:
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and 400 <= value <= 599 else None


def _by_name(name: object) -> int | None:
    if not isinstance(name, str):
        return None
    lowered = name[:200].lower()
    return next((status for pattern, status in _BY_NAME if pattern.search(lowered)), None)
