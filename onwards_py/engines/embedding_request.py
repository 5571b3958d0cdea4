"""Parses requests for embeddings, by the rules of OpenAI's ``POST /v1/embeddings``. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from onwards_py.engines.base import Body, bad_request

MOST_INPUTS: Final = 2048
_LARGEST_ID: Final = 2**31 - 1

Input = str | list[int]
"""A text, or token ids of the model, which are used unchanged."""


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """``dimensions``: components of a vector; None: all. ``as_base64``: encode vectors in base64."""

    inputs: list[Input]
    as_base64: bool
    dimensions: int | None


def parse_request(body: Body, dimension: int) -> EmbeddingRequest:
    """Parse a body for a model with vectors of ``dimension``. Raises `EngineError`."""
    form = body.get("encoding_format")
    if form not in (None, "float", "base64"):
        raise bad_request("encoding_format must be 'float' or 'base64'.", "encoding_format")
    wanted = body.get("dimensions")
    if wanted is not None and (type(wanted) is not int or not 1 <= wanted <= dimension):
        raise bad_request(f"dimensions must be a whole number from 1 to {dimension} for this model.", "dimensions")
    return EmbeddingRequest(_inputs(body.get("input")), form == "base64", wanted)


def _inputs(value: object) -> list[Input]:
    if isinstance(value, str):
        return [_text(value, "input")]
    if not isinstance(value, list) or not value:
        raise bad_request("input must be a string, a list of strings, a list of token ids or a list of those.", "input")
    if type(value[0]) is int:
        return [_ids(value, "input")]
    if len(value) > MOST_INPUTS:
        raise bad_request(f"input holds {len(value)} inputs; at most {MOST_INPUTS} are taken at once.", "input")
    if isinstance(value[0], str):
        return [_text(item, f"input[{number}]") for number, item in enumerate(value)]
    return [_ids(item, f"input[{number}]") for number, item in enumerate(value)]


def _text(value: object, name: str) -> Input:
    if not isinstance(value, str):
        raise bad_request(f"{name} must be a string, as the first input is.", "input")
    if not value:
        raise bad_request(f"{name} must not be an empty string.", "input")
    return value


def _ids(value: object, name: str) -> Input:
    if not isinstance(value, list) or not value:
        raise bad_request(f"{name} must be a list of token ids that is not empty.", "input")
    if not all(type(item) is int and 0 <= item <= _LARGEST_ID for item in value):
        raise bad_request(f"{name} must hold token ids only: whole numbers from 0.", "input")
    return value
