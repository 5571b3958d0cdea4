"""The head of a response whose body the proxy makes: reason phrase and field lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus

_LONGEST_DROPPED = 1000  # characters of the field that lists what a translation dropped
_NOT_IN_A_FIELD = re.compile(r"[^A-Za-z0-9_.\-\[\]]")


def reason_of(status: int) -> bytes:
    """The standard reason phrase; empty for an unknown status."""
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


def json_lines(length: int) -> bytes:
    """The field lines of a JSON body of ``length`` bytes."""
    return b"Content-Type: application/json\r\nContent-Length: %d\r\n" % length


STREAM_LINES = b"Content-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"
"""The field lines of Server-Sent Events."""


def dropped_line(names: Iterable[str]) -> bytes:
    """``X-Onwards-Dropped``: the parts that a translation dropped; empty if there are none."""
    listed = ", ".join(_NOT_IN_A_FIELD.sub("?", name) for name in names)
    return b"X-Onwards-Dropped: %b\r\n" % listed[:_LONGEST_DROPPED].encode("ascii") if listed else b""
