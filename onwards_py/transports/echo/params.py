"""Reading a request body: typed access to the members of foreign JSON.

Every function treats null as absent, and raises ``EchoError`` with the member's name for a wrong value.
"""

from __future__ import annotations

import math

import orjson

from onwards_py.transports.echo.answers import EchoError

JsonObject = dict[str, object]
"""A parsed JSON object whose members are not yet known."""


def parse(body: bytes) -> JsonObject:
    """The body as a JSON object. Raises EchoError: not JSON, or not an object."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise EchoError("The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise EchoError("The body is not a JSON object.")
    return value


def as_object(value: object) -> JsonObject:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """The value if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def flag(body: JsonObject, name: str, default: bool = False) -> bool:
    """A boolean member."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise EchoError(f"'{name}' is not a boolean.", param=name)
    return value


def integer(body: JsonObject, name: str, lowest: int, highest: int | None = None) -> int | None:
    """An integer member within bounds, both inclusive."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise EchoError(f"'{name}' is not an integer.", param=name)
    if value < lowest or (highest is not None and value > highest):
        bounds = f"at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise EchoError(f"'{name}' must be {bounds}.", param=name)
    return value


def number(body: JsonObject, name: str, default: float) -> float:
    """A finite number member."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise EchoError(f"'{name}' is not a number.", param=name)
    return value


def text(body: JsonObject, name: str) -> str | None:
    """A string member."""
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    raise EchoError(f"'{name}' is not a string.", param=name)


def one_of(body: JsonObject, name: str, allowed: tuple[str, ...], default: str) -> str:
    """A string member with a closed set of values."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or value not in allowed:
        raise EchoError(f"'{name}' must be one of: {', '.join(allowed)}.", param=name)
    return value
