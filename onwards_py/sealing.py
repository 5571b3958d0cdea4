"""Sealed data that clients store for the proxy: AES-256-GCM, with a list of keys for rotation.

The format is ``ow1.`` and the base64url encoding of: key id (4 bytes), nonce (12), ciphertext with its tag (16). The
first key seals; every key opens. The audience is authenticated with the data, so that data sealed for one principal
does not open for another. A random nonce is safe for 2**32 blobs with one key (NIST SP 800-38D, section 8.3).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_PREFIX = "ow1."
_PURPOSE = b"onwards sealed blob 1"
_KEY_ID = 4
_NONCE = 12
_TAG = 16
SHORTEST_SECRET = 16


@dataclass(frozen=True, slots=True)
class _Key:
    ident: bytes
    cipher: AESGCM = field(repr=False)


class Keyring:
    """The configured secrets, newest first. Raises ValueError for a secret of less than 16 bytes."""

    __slots__ = ("_keys",)

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets:
            raise ValueError("at least one secret is needed")
        self._keys = tuple(map(_derive, secrets))

    def sealer(self, audience: str) -> BoundSealer:
        """Seals and opens for ``audience``, such as the id of a key; data of another audience does not open."""
        return BoundSealer(self._keys, audience.encode())


class BoundSealer:
    """A `Sealer` for one audience."""

    __slots__ = ("_audience", "_keys")

    def __init__(self, keys: tuple[_Key, ...], audience: bytes) -> None:
        self._keys = keys
        self._audience = audience

    def seal(self, plain: bytes) -> str:
        """Printable text that only the proxy can create and read; equal input gives different text."""
        key = self._keys[0]
        nonce = os.urandom(_NONCE)
        closed = key.cipher.encrypt(nonce, plain, self._audience)
        return _PREFIX + base64.urlsafe_b64encode(key.ident + nonce + closed).decode()

    def open(self, sealed: str) -> bytes | None:
        """The sealed data; None for text that was not sealed with one of the keys for this audience."""
        if not sealed.startswith(_PREFIX):
            return None
        try:
            raw = base64.b64decode(sealed[len(_PREFIX) :], altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(raw) < _KEY_ID + _NONCE + _TAG:
            return None
        ident, nonce, closed = raw[:_KEY_ID], raw[_KEY_ID : _KEY_ID + _NONCE], raw[_KEY_ID + _NONCE :]
        for key in self._keys:
            if key.ident == ident:
                try:
                    return key.cipher.decrypt(nonce, closed, self._audience)
                except InvalidTag:
                    continue  # two keys may share an id
        return None


def _derive(secret: str) -> _Key:
    raw = secret.encode()
    if len(raw) < SHORTEST_SECRET:
        raise ValueError(f"a secret must have at least {SHORTEST_SECRET} bytes")
    derived = HKDF(SHA256(), 32, salt=None, info=_PURPOSE).derive(raw)
    return _Key(hashlib.sha256(b"id" + derived).digest()[:_KEY_ID], AESGCM(derived))
