"""POST /embeddings: unit vectors that depend on the text alone."""

from __future__ import annotations

import base64
import hashlib
import math
import struct

import orjson

from onwards_py.transports.echo.answers import CompleteAnswer, EchoError, EchoRequest
from onwards_py.transports.echo.inputs import read_inputs
from onwards_py.transports.echo.params import JsonObject, integer, one_of, parse

DIMENSIONS = 256
MOST_DIMENSIONS = 4096
MOST_INPUTS = 2048
MOST_NUMBERS = DIMENSIONS * MOST_INPUTS
"""Maximum numbers of one response, which is made in one turn of the event loop."""


def answer(ask: EchoRequest) -> CompleteAnswer:
    """One vector for each text. Raises EchoError."""
    body = parse(ask.body)
    inputs = read_inputs(body, "input", MOST_INPUTS)
    dimensions = integer(body, "dimensions", 1, MOST_DIMENSIONS) or DIMENSIONS
    as_base64 = one_of(body, "encoding_format", ("float", "base64"), "float") == "base64"
    if len(inputs) * dimensions > MOST_NUMBERS:
        raise EchoError(f"Texts times dimensions may be at most {MOST_NUMBERS}.", param="input")
    tokens = sum(each.tokens for each in inputs)
    document: JsonObject = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(each.text, dimensions, as_base64)}
            for index, each in enumerate(inputs)
        ],
        "model": ask.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return CompleteAnswer(orjson.dumps(document))


def vector(text: str, dimensions: int) -> bytes:
    """Little-endian 32-bit floats of length one; equal texts give equal vectors."""
    noise = hashlib.shake_256(text.encode()).digest(4 * dimensions)
    # Odd integers only: no component, and so no vector, is zero.
    numbers = [2 * number + 1 for number in struct.unpack(f"<{dimensions}i", noise)]
    length = math.hypot(*numbers)
    return struct.pack(f"<{dimensions}f", *(number / length for number in numbers))


def _encoded(text: str, dimensions: int, as_base64: bool) -> object:
    packed = vector(text, dimensions)
    if as_base64:
        return base64.b64encode(packed).decode("ascii")
    return struct.unpack(f"<{dimensions}f", packed)
