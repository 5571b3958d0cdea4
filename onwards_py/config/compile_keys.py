"""Client keys: from keys and ids in the file to the digests with which tokens of requests are compared."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import sha256

from onwards_py.config.compile_limits import compile_limits
from onwards_py.config.diagnostics import Path, did_you_mean, quoted
from onwards_py.config.inherit import Reporter
from onwards_py.config.scalars import ClientKey, KeyDigest
from onwards_py.config.schema import AuthShape, KeyDefinitionShape
from onwards_py.config.secret_shapes import looks_secret
from onwards_py.model.pool import KeyDefinition

_DEFINITIONS: Path = ("auth", "key_definitions")
_MOST_COMPARISONS = 10_000
"""Bounds the search for misspelt ids in large files; each comparison takes a few microseconds."""


class KeyTable:
    """The ``auth`` section. An entry of a list of keys that is the id of a key definition stands for that key.

    ``targets``: all target names, which ``allowed_targets`` may contain.
    """

    def __init__(self, auth: AuthShape | None, targets: Collection[str], reporter: Reporter) -> None:
        self._reporter = reporter
        self._targets = targets
        self._ids: dict[str, bytes] = {}
        self._named: dict[str, set[bytes]] = {}
        self._comparisons_left = _MOST_COMPARISONS
        self.definitions: dict[bytes, KeyDefinition] = {}
        auth = auth or AuthShape()
        for id_, shape in (auth.key_definitions or {}).items():
            self._define(id_, shape, (*_DEFINITIONS, id_))
        self._reject_ambiguous_ids()
        self._global = self._digests(auth.global_keys or (), ("auth", "global_keys"))

    def accepted(self, name: str, keys: Sequence[ClientKey] | None, path: Path) -> frozenset[bytes] | None:
        """Digests of the tokens that the target ``name`` accepts; None: the target is open.

        An empty list accepts no token. A target that is among the ``allowed_targets`` of a key is not open.
        """
        listed = self._global if keys is None else self._global | self._digests(keys, path, name)
        named = self._named.get(name)
        if named is not None:
            return listed | named
        return None if keys is None and not listed else listed

    def _define(self, id_: str, shape: KeyDefinitionShape, path: Path) -> None:
        digest = self._digest_of(shape, path)
        if digest is None:
            return
        other = self.definitions.get(digest)
        if other is not None:
            at = (*path, "key" if shape.key is not None else "key_sha256")
            self._reporter.error(at, f"is the same key as that of {quoted(other.id)}")
        self._ids[id_] = digest
        if looks_secret(id_):
            self._reporter.warn(path, "this id looks like a secret, and logs show the ids of keys: choose another one")
        limits = compile_limits(shape, path, self._reporter)
        targets = None if shape.allowed_targets is None else frozenset(shape.allowed_targets)
        self.definitions[digest] = KeyDefinition(id_, limits, dict(shape.labels or {}), targets)
        self._add_allowed_targets(shape.allowed_targets, digest, (*path, "allowed_targets"))

    def _digest_of(self, shape: KeyDefinitionShape, path: Path) -> bytes | None:
        """None after an error was reported."""
        if isinstance(shape.key_sha256, KeyDigest):
            return shape.key_sha256.value
        if shape.key is None:
            return None
        if not shape.key.value:
            self._reporter.warn((*path, "key"), "is empty: no client can present it")
        return _digest(shape.key.value)

    def _add_allowed_targets(self, allowed: Sequence[str] | None, digest: bytes, path: Path) -> None:
        if allowed is None:
            return
        if not allowed:
            self._reporter.warn(path, "is empty: this key may not use any target")
        for index, name in enumerate(allowed):
            if self._reporter.has_key(("targets", name)):
                self._named.setdefault(name, set()).add(digest)
            else:
                hint = did_you_mean(name, self._targets)
                self._reporter.error((*path, index), f"there is no target {quoted(name)}{hint}")

    def _reject_ambiguous_ids(self) -> None:
        """Reject a key that is also the id of another one. The message shows neither of them."""
        for id_, digest in self._ids.items():
            other = self.definitions.get(_digest(id_))
            if other is not None and self._ids[other.id] != digest:
                self._reporter.error(
                    (*_DEFINITIONS, other.id, "key"),
                    "is also the id of another key definition, so a list of keys could mean either; rename that id",
                )

    def _digests(self, keys: Sequence[ClientKey], path: Path, target: str | None = None) -> frozenset[bytes]:
        """Digests of one list of keys; ``target`` None: the list of global keys."""
        digests: set[bytes] = set()
        for index, key in enumerate(keys):
            at = (*path, index)
            if not key.value:
                self._reporter.warn(at, "is empty: no client can present it")
            digest = self._ids.get(key.value) or _digest(key.value)
            digests.add(digest)
            definition = self.definitions.get(digest)
            if definition is None:
                self._warn_of_misspelt_id(key.value, at)
            if definition is not None and definition.targets is not None and target not in definition.targets:
                if self._reporter.has_key(at):
                    self._reporter.warn(at, f"does not extend the allowed_targets of {quoted(definition.id)}")
            elif self._is_digest(key.value):
                self._reporter.error(
                    at, "is the digest of a key, and would itself be accepted as a key; give the id instead"
                )
        return frozenset(digests)

    def _warn_of_misspelt_id(self, word: str, at: Path) -> None:
        """Any word is a valid key, so a misspelt id becomes a key that can be guessed."""
        self._comparisons_left -= len(self._ids)
        if self._comparisons_left >= 0 and (hint := did_you_mean(word, self._ids, similarity=0.8)):
            self._reporter.warn(at, f"is not the id of a key definition, so it is accepted as a key itself{hint}")

    def _is_digest(self, word: str) -> bool:
        try:
            return KeyDigest.parse(word).value in self.definitions
        except ValueError:
            return False


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
