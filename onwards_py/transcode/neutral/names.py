"""Names of tools and ids of calls in a form that every provider accepts; answers contain the client's again."""

from __future__ import annotations

import hashlib
import re

from onwards_py.transcode.neutral.context import ToolName

LONGEST = 64
_NINE = re.compile(r"[A-Za-z0-9]{9}")
_ODD = re.compile(r"[^A-Za-z0-9_-]")
_BETWEEN = "__"


class ToolNames:
    """Flat names for tools: namespaces flattened, odd characters replaced; ``by_flat_name`` maps them back."""

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


class CallIds:
    """Converts the client's call ids to the provider's; ``changed`` maps each changed id to the client's."""

    __slots__ = ("_changed", "_short")

    def __init__(self, short: bool, changed: dict[str, str]) -> None:
        self._short = short
        self._changed = changed

    def shortened(self, call_id: str) -> str:
        """``call_id`` if it is short enough, else an id made from its digest: truncated ids could collide."""
        if self._short:
            if _NINE.fullmatch(call_id):
                return call_id
            made = _digest(call_id)[:9]
        elif len(call_id) <= LONGEST:
            return call_id
        else:
            made = f"call_{_digest(call_id)[:48]}"
        self._changed[made] = call_id
        return made


def _digest(call_id: str) -> str:
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()
