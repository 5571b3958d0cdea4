"""Names of tools: namespaces flattened and odd characters replaced on the way up, restored on the way back."""

from __future__ import annotations

import hashlib
import re

from onwards_py.transcode.neutral.context import ToolName

LONGEST = 64
_ODD = re.compile(r"[^A-Za-z0-9_-]")
_BETWEEN = "__"


class ToolNames:
    """Chat function names for the client's tools; ``by_chat_name`` is the way back."""

    __slots__ = ("_chat_names", "_gone", "by_chat_name")

    def __init__(self) -> None:
        self.by_chat_name: dict[str, ToolName] = {}
        self._chat_names: dict[tuple[str | None, str], str] = {}
        self._gone: dict[tuple[str | None, str], str] = {}

    def add(self, tool: ToolName) -> None:
        """Give ``tool``, which has none yet, a chat name of its own."""
        identity = (tool.namespace, tool.name)
        name = _flatten(tool.name, tool.namespace)
        if name in self.by_chat_name:
            name = _with_digest(name, identity)
        self._chat_names[identity] = name
        self.by_chat_name[name] = tool

    def chat_name(self, name: str, namespace: str | None) -> str:
        """The chat name of a tool, offered or not: histories name tools that are no longer there."""
        identity = (namespace, name)
        known = self._chat_names.get(identity) or self._gone.get(identity)
        if known is None:
            known = self._gone[identity] = _flatten(name, namespace)
        return known

    def find(self, name: str, namespace: str | None) -> str | None:
        """The chat name of a tool that was offered, by the client's name or by its chat name; else None."""
        known = self._chat_names.get((namespace, name))
        if known is None and namespace is None and name in self.by_chat_name:
            return name
        return known


def _flatten(name: str, namespace: str | None) -> str:
    """One name of at most 64 letters, digits, ``_`` and ``-``: what the strictest providers take."""
    full = name
    if namespace is not None:
        full = f"{namespace}{'' if namespace.endswith(_BETWEEN) else _BETWEEN}{name}"
    plain = _ODD.sub("_", full)
    return plain if len(plain) <= LONGEST else _with_digest(plain, (namespace, name))


def _with_digest(name: str, identity: tuple[str | None, str]) -> str:
    digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:8]
    return f"{name[: LONGEST - 9]}_{digest}"
