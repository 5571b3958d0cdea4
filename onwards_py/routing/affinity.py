"""Affinity: requests of one conversation go to one provider, which has their prompt in its cache. Pure.

Weighted rendezvous hashing: each provider gets a score from the key and its own identity, and the highest wins. A
provider that leaves moves only its own keys, and gets them back when it returns; processes need no common state.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from math import log
from typing import Final

from onwards_py.messages import Field
from onwards_py.model.policies import Affinity

_PROMPT: Final = re.compile(rb'"(?:messages|input|prompt|system)"[ \t\r\n]*:[ \t\r\n]*')
_LOOKED_AT: Final = 1024 * 1024
_BITS: Final = 52  # numbers of 52 bits plus one half are exact in a float, so that a draw is never 0 or 1


def key_of(affinity: Affinity, fields: Sequence[Field], body: bytes) -> bytes | None:
    """The key of a request's conversation; None if the request has none.

    It is the first session field that is present and not empty, else a digest of the first ``prompt_bytes`` bytes after
    the first member called ``messages``, ``input``, ``prompt`` or ``system``. The bytes are searched without parsing
    JSON: a nested member of that name counts if it comes first, and a shorter prompt includes the bytes after it, so
    that short conversations may move between providers (with little cache to lose). Only the first MiB is searched.
    ``body``: decoded.
    """
    for wanted in affinity.session:
        for name, value in fields:
            if name.lower() == wanted and value:
                return value
    if affinity.prompt_bytes is not None:
        found = _PROMPT.search(body, 0, _LOOKED_AT)
        if found is not None:
            return blake2b(body[found.end() : found.end() + affinity.prompt_bytes], digest_size=16).digest()
    return None


def salt_of(identity: str) -> bytes:
    """A provider's part of its scores: the same in every process and after every reload."""
    return blake2b(identity.encode(), digest_size=32).digest()


def score(key: bytes, salt: bytes, weight: int) -> float:
    """The score of a provider for a key; above 0. The highest wins; over many keys, the share of each provider is
    proportional to its weight (at least 1)."""
    number = int.from_bytes(blake2b(key, digest_size=8, key=salt).digest(), "big") >> (64 - _BITS)
    return -weight / log((number + 0.5) / (1 << _BITS))
