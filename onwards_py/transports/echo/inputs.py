"""The common input of Completions and Embeddings: texts, or texts as token numbers."""

from __future__ import annotations

from dataclasses import dataclass

from onwards_py.transports.echo.answers import EchoError
from onwards_py.transports.echo.params import JsonObject
from onwards_py.transports.echo.words import count


@dataclass(frozen=True, slots=True)
class Input:
    """One text, and its number of tokens. Token numbers become decimal words."""

    text: str
    tokens: int


def read_inputs(body: JsonObject, name: str, most: int) -> list[Input]:
    """A string, an array of strings, of integers, or of arrays of integers. Raises EchoError."""
    value = body.get(name)
    if isinstance(value, str):
        return [Input(value, count(value))]
    if not isinstance(value, list) or not value:
        raise EchoError(f"'{name}' must be a string or an array that is not empty.", param=name)
    if isinstance(value[0], int):
        return [_from_tokens(value, name)]
    if len(value) > most:
        raise EchoError(f"'{name}' may hold at most {most} texts.", param=name)
    return [_one(item, name) for item in value]


def _one(item: object, name: str) -> Input:
    if isinstance(item, str):
        return Input(item, count(item))
    if isinstance(item, list):
        return _from_tokens(item, name)
    raise EchoError(f"'{name}' must hold strings or arrays of integers.", param=name)


def _from_tokens(tokens: list[object], name: str) -> Input:
    if not all(isinstance(token, int) and not isinstance(token, bool) for token in tokens):
        raise EchoError(f"'{name}' must hold strings or arrays of integers.", param=name)
    return Input(" ".join(map(str, tokens)), len(tokens))
