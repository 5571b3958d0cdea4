"""Log probabilities of tokens: ``token``, ``logprob``, ``bytes`` (a list, or None where unknown), ``top_logprobs``."""

from __future__ import annotations

from collections.abc import Mapping

_IMPOSSIBLE = -9999.0  # OpenAI's value for minus infinity


def read_logprobs(tokens: object) -> list[dict[str, object]]:
    """The tokens of a list of any shape, with all four members each."""
    return [
        {**_logprob(token), "top_logprobs": list(map(_logprob, _dicts(token.get("top_logprobs"))))}
        for token in _dicts(tokens)
    ]


def _dicts(values: object) -> list[dict[str, object]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _logprob(token: Mapping[str, object]) -> dict[str, object]:
    text, logprob, bytes_ = token.get("token"), token.get("logprob"), token.get("bytes")
    return {
        "token": text if isinstance(text, str) else "",
        "logprob": logprob if isinstance(logprob, int | float) and not isinstance(logprob, bool) else _IMPOSSIBLE,
        "bytes": bytes_ if isinstance(bytes_, list) and all(map(_is_byte, bytes_)) else None,
    }


def _is_byte(value: object) -> bool:
    return type(value) is int and 0 <= value < 256
