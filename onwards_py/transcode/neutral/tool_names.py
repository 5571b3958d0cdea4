"""Names of tools: namespaces flattened and odd characters replaced in requests, restored in answers."""

from __future__ import annotations

import hashlib
import re

from onwards_py.transcode.neutral.context import ToolName

LONGEST = 64
_ODD = re.compile(r"[^A-Za-z0-9_-]")
_BETWEEN = "__"


class ToolNames:
    """Flat names for the client's tools; ``by_flat_name`` maps them back."""

    __slots__ = ("_flat_names", "_gone", "by_flat_name")

    def __init__(self) -> None:
        self.by_flat_name: dict[str, ToolName] = {}
        self._flat_names: dict[tuple[str | None, str], str] = {}
        self._gone: dict[tuple[str | None, str], str] = {}

    def add(self, tool: ToolName) -> None:
        """Assign a unique flat name to ``tool``, which must not have one yet."""
        identity = (tool.namespace, tool.name)
        name = _flatten(tool.name, tool.namespace)
        if name in self.by_flat_name:
            name = _with_digest(name, identity)
        self._flat_names[identity] = name
        self.by_flat_name[name] = tool

    def flat_name(self, name: str, namespace: str | None) -> str:
        """The flat name of a tool, offered or not: histories contain tools that are no longer offered."""
        identity = (namespace, name)
        known = self._flat_names.get(identity) or self._gone.get(identity)
        if known is None:
            known = self._gone[identity] = _flatten(name, namespace)
        return known

    def find(self, name: str, namespace: str | None) -> str | None:
        """The flat name of an offered tool, found by the client's name or by the flat name; else None."""
        known = self._flat_names.get((namespace, name))
        if known is None and namespace is None and name in self.by_flat_name:
            return name
        return known


def _flatten(name: str, namespace: str | None) -> str:
    """One name of at most 64 letters, digits, ``_`` and ``-``, which even the strictest providers accept."""
    full = name
    if namespace is not None:
        full = f"{namespace}{'' if namespace.endswith(_BETWEEN) else _BETWEEN}{name}"
    plain = _ODD.sub("_", full)
    return plain if len(plain) <= LONGEST else _with_digest(plain, (namespace, name))


def _with_digest(name: str, identity: tuple[str | None, str]) -> str:
    digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:8]
    return f"{name[: LONGEST - 9]}_{digest}"
