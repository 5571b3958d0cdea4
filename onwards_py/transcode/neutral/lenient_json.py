"""JSON as providers write it: strict where it can be, since that is fast, else as lenient as meaning allows."""

from __future__ import annotations

import json
import re
from math import isfinite

import orjson

from onwards_py.transcode.neutral.surrogates import border_halves_kept, well_formed

# Beginnings at which Python's reader stops as at an error: of literals, numbers and escapes.
_BEGUN = re.compile(r"(?:t(?:ru?)?|f(?:al?s?)?|n(?:ul?)?|-|\.|[eE][+-]?|u[0-9a-fA-F]{0,4})\Z")


def loads(data: bytes) -> object:
    """The value of ``data``, fit to be written by `dumps` again. Raises ValueError.

    Invalid UTF-8 and halves of surrogate pairs become U+FFFD, NaN and infinities null; raw control characters in
    strings are let through. A half at the border of a string stays, as the next piece of a text may begin with the
    other (see `surrogates`).
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        text = data.decode("utf-8", "replace")
    try:
        return _clean(json.loads(text, strict=False, parse_constant=lambda _: None))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def loads_request(data: bytes) -> object:
    """The value of a request's ``data``: strict JSON, but for halves of surrogate pairs, which become U+FFFD.

    JavaScript makes such halves when it cuts strings, and JSON allows them (RFC 8259, section 8.2). Raises
    orjson.JSONDecodeError.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if "surrogate" not in str(error):
            raise
        try:
            return _written(_clean(json.loads(data, parse_constant=_refuse)))
        except (ValueError, RecursionError):
            raise error from None


def dumps(value: object) -> bytes:
    """``value`` as JSON in UTF-8: halves of surrogate pairs are U+FFFD. Raises orjson.JSONEncodeError."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        try:
            return orjson.dumps(_written(value))
        except RecursionError:
            raise error from None


def dumps_as_read(value: object) -> bytes:
    """``value`` as JSON; halves of surrogate pairs stay the escapes that they were. Raises orjson.JSONEncodeError."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        if "surrogates" not in str(error):  # but nested too deeply, which the slower writer might take
            raise
        return json.dumps(value, separators=(",", ":")).encode()


def is_json(text: str) -> bool:
    """Whether ``text`` is JSON to a reader of RFC 8259, who takes half a surrogate pair, too."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return False
    return True


def is_cut(text: str) -> bool:
    """Whether ``text`` is the beginning of some JSON and not yet the whole of it.

    What no more text could make JSON of, as ``{'a': 1}``, was not cut: somebody wrote it so.
    """
    if is_json(text):
        return False
    try:
        json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        rest = text[error.pos :].rstrip()
        return not rest or error.msg.startswith("Unterminated string") or _BEGUN.match(rest) is not None
    except (ValueError, RecursionError):  # numbers or nesting that this reader will not have
        return False
    return False


def writable(value: object) -> bool:
    """Whether JSON can be made of ``value`` again: what was read may be nested deeper than what can be written."""
    try:
        dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _clean(value: object) -> object:
    if isinstance(value, str):
        return border_halves_kept(value)
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, dict):
        return {well_formed(name): _clean(one) for name, one in value.items()}
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, int) and not -(2**53) < value < 2**53:
        return float(value) if abs(value) < 10**300 else None
    return value


def _written(value: object) -> object:
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, list):
        return [_written(one) for one in value]
    if isinstance(value, dict):
        return {_written(name): _written(one) for name, one in value.items()}
    return value
