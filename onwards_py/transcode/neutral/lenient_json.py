"""JSON as providers write it. The strict parser is tried first, because it is fast; then a lenient one."""

from __future__ import annotations

import json
import re
from math import isfinite

import orjson

from onwards_py.transcode.neutral.surrogates import border_halves_kept, well_formed

# Incomplete literals, numbers and escapes, at which Python's parser reports an error instead of the end of the text.
_BEGUN = re.compile(r"(?:t(?:ru?)?|f(?:al?s?)?|n(?:ul?)?|-|\.|[eE][+-]?|u[0-9a-fA-F]{0,4})\Z")


def loads(data: bytes) -> object:
    """The value of ``data``, which `dumps` can write again. Raises ValueError.

    Invalid UTF-8 and halves of surrogate pairs become U+FFFD, NaN and infinities become null; raw control characters in
    strings are accepted. A half at the border of a string is kept, because the next piece of a text may begin with the
    other half (see `surrogates`).
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
    """The value of a request's ``data``: strict JSON, except that halves of surrogate pairs become U+FFFD.

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


def dumps_text(value: object) -> str | None:
    """``value`` as JSON text; None if it is nested too deeply."""
    try:
        return dumps(value).decode()
    except orjson.JSONEncodeError:
        return None


def dumps_as_read(value: object) -> bytes:
    """``value`` as JSON; halves of surrogate pairs remain escapes. Raises orjson.JSONEncodeError."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        if "surrogates" not in str(error):  # nested too deeply, which the slower encoder may accept
            raise
        return json.dumps(value, separators=(",", ":")).encode()


def is_json(text: str) -> bool:
    """Whether ``text`` is JSON by RFC 8259, which allows half a surrogate pair."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return False
    return True


def is_cut(text: str) -> bool:
    """Whether ``text`` is truncated JSON: more text could complete it.

    False for text such as ``{'a': 1}``, which no further text can make valid.
    """
    if is_json(text):
        return False
    try:
        json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        rest = text[error.pos :].rstrip()
        return not rest or error.msg.startswith("Unterminated string") or _BEGUN.match(rest) is not None
    except (ValueError, RecursionError):  # numbers or nesting beyond the limits of this parser
        return False
    return False


def writable(value: object) -> bool:
    """Whether ``value`` can be encoded as JSON: the parser accepts deeper nesting than the encoder."""
    return dumps_text(value) is not None


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
