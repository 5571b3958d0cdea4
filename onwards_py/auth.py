"""Authentication: from header values to a principal. Pure; access is checked in `routing.table`.

Tokens are compared as SHA-256 digests: the time of a set lookup by digest does not depend on how many characters of a
token are correct. Only this file handles the token itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from onwards_py.model.pool import KeyDefinition


class Principal(msgspec.Struct, frozen=True):
    """``digest``: SHA-256 of the token, or None without one. ``definition``: the key definition of that token."""

    digest: bytes | None = None
    definition: KeyDefinition | None = None


ANONYMOUS = Principal()


def token_of(authorization: bytes | None, api_key: bytes | None) -> bytes | None:
    """The token of a request: ``Authorization: Bearer`` (scheme in any case, RFC 9110 section 11.1) or an API key."""
    if authorization is not None:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() == b"bearer" and (token := token.strip()):
            return token
    return api_key.strip() or None if api_key is not None else None


def identify(
    authorization: bytes | None, api_key: bytes | None, definitions: Mapping[bytes, KeyDefinition]
) -> Principal:
    """The principal of the token; `ANONYMOUS` without a token."""
    token = token_of(authorization, api_key)
    if token is None:
        return ANONYMOUS
    digest = sha256(token).digest()
    return Principal(digest, definitions.get(digest))
