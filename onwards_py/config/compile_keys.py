"""Tokens: from keys and names of keys in the file to the digests that requests are checked against."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from onwards_py.config.compile_provider import compile_limits
from onwards_py.config.inherit import Site
from onwards_py.config.problems import Path, shown
from onwards_py.config.scalars import ClientKey
from onwards_py.config.schema import AuthShape, KeyDefinitionShape
from onwards_py.routing.model import KeyDefinition


class Keys:
    """The ``auth`` section. A word in a list of keys that is the id of a key definition stands for that key."""

    def __init__(self, auth: AuthShape | None, site: Site) -> None:
        self._site = site
        self._ids: dict[str, str] = {}
        self.definitions: dict[bytes, KeyDefinition] = {}
        auth = auth or AuthShape()
        for id_, shape in (auth.key_definitions or {}).items():
            self._define(id_, shape)
        self._global = self._digests(auth.global_keys or (), ("auth", "global_keys"))

    def accepted(self, keys: Sequence[ClientKey] | None, path: Path) -> frozenset[bytes] | None:
        """Digests of the tokens that a target accepts; None: open. An empty list lets nobody in."""
        if keys is None:
            return self._global or None
        return self._global | self._digests(keys, path)

    def _define(self, id_: str, shape: KeyDefinitionShape) -> None:
        path: Path = ("auth", "key_definitions", id_, "key")
        token = shape.key.value
        if not token:
            self._site.warn(path, "is empty: no client can present it")
        digest = _digest(token)
        other = self.definitions.get(digest)
        if other is not None:
            self._site.error(path, f"is the same key as that of '{shown(other.id)}'")
        self._ids[id_] = token
        limits = compile_limits(shape.rate_limit, shape.concurrency_limit)
        self.definitions[digest] = KeyDefinition(id_, limits, dict(shape.labels or {}))

    def _digests(self, keys: Sequence[ClientKey], path: Path) -> frozenset[bytes]:
        digests: set[bytes] = set()
        for index, key in enumerate(keys):
            at = (*path, index)
            if not key.value:
                self._site.warn(at, "is empty: no client can present it")
            token = self._ids.get(key.value, key.value)
            named = self.definitions.get(_digest(key.value))
            if named is not None and named.id != key.value and key.value in self._ids:
                self._site.error(
                    at, f"is both the id of a key definition and the key of '{shown(named.id)}'; rename the id"
                )
            digests.add(_digest(token))
        return frozenset(digests)


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
