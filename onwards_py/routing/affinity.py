"""Affinity: requests of one conversation go to one provider, so that its prompt cache is of use. Pure.

Weighted rendezvous hashing: every provider gets a score from the key and its own identity, and the highest wins. Who
leaves moves its own keys only, and takes them back when it returns; no process needs to tell another anything.
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
_BITS: Final = 52  # so many, and a half added, are exact in a float: never 0, never 1


def key_of(affinity: Affinity, fields: Sequence[Field], body: bytes) -> bytes | None:
    """What is common to the requests of one conversation; None if there is nothing to go by.

    The first of the session fields that is there and not empty; else a digest of the first ``prompt_bytes`` bytes
    behind the first member called ``messages``, ``input``, ``prompt`` or ``system``. Bytes are searched, JSON is not
    read: a member of that name inside another one counts if it comes first, and a prompt shorter than that takes in
    what stands behind it, so that short conversations may move (their caches would be short too). Nor is it looked for
    behind the first MiB. ``body``: decoded.
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
    """What a provider puts into its scores: equal in every process, and after every reload."""
    return blake2b(identity.encode(), digest_size=32).digest()


def score(key: bytes, salt: bytes, weight: int) -> float:
    """The provider with the highest score has the key; of many keys, each has a share in proportion to its weight
    (at least 1). Lies above 0."""
    number = int.from_bytes(blake2b(key, digest_size=8, key=salt).digest(), "big") >> (64 - _BITS)
    return -weight / log((number + 0.5) / (1 << _BITS))
