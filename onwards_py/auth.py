"""Who calls: from header values to a principal. Pure; refuses nobody.

Tokens are compared as SHA-256 digests: a set lookup on a digest tells an attacker who measures time nothing
about how much of a token was right. The token itself goes no further than this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from onwards_py.model.pool import KeyDefinition


class Principal(msgspec.Struct, frozen=True):
    """``digest``: SHA-256 of the token, or None without one. ``definition``: what the configuration says of it."""

    digest: bytes | None = None
    definition: KeyDefinition | None = None

    @property
    def label(self) -> str | None:
        """The name that logs and metrics may show."""
        return self.definition.id if self.definition is not None else None


ANONYMOUS = Principal()


def token_of(authorization: bytes | None, api_key: bytes | None) -> bytes | None:
    """The presented token: ``Authorization: Bearer`` (scheme in any case, RFC 9110 section 11.1) or an API key."""
    if authorization is not None:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() == b"bearer" and (token := token.strip()):
            return token
    return api_key.strip() or None if api_key is not None else None


def identify(
    authorization: bytes | None, api_key: bytes | None, definitions: Mapping[bytes, KeyDefinition]
) -> Principal:
    """The principal behind the presented token; the anonymous one if there is none."""
    token = token_of(authorization, api_key)
    if token is None:
        return ANONYMOUS
    digest = sha256(token).digest()
    return Principal(digest, definitions.get(digest))
