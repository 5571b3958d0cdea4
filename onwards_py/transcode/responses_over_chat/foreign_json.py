"""JSON as providers write it: strict where it can be, since that is fast, else as lenient as meaning allows."""

from __future__ import annotations

import json

import orjson


def loads(data: bytes) -> object:
    """The value of ``data``, fit to be written as JSON again. Raises ValueError.

    Invalid UTF-8 and halves of surrogate pairs (an emoji that was cut between two tokens) become U+FFFD, NaN and
    infinities null; raw control characters in strings are let through.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        text = data.decode("utf-8", "replace")
    try:
        return _clean(json.loads(text, strict=False, parse_constant=lambda _: None))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _clean(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, dict):
        return {str(_clean(name)): _clean(one) for name, one in value.items()}
    if isinstance(value, int) and not -(2**53) < value < 2**53:
        return float(value) if abs(value) < 10**300 else None
    return value
