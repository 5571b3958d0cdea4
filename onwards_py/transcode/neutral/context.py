"""The facts of a request that its answer needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Protocol

from onwards_py.transcode.neutral.quirks import Quirks


class Ids(Protocol):
    """Creates ids; the only source of randomness in this room."""

    def new_id(self, prefix: str) -> str:
        """A new id of ``prefix`` (``"resp_"``, ``"msg_"``, ...) with letters and digits, at most 64 characters in all.

        The id is not empty even if the prefix is.
        """
        ...


class Sealer(Protocol):
    """Encrypts bytes that a client stores, so that only this proxy can read them."""

    def seal(self, plain: bytes) -> str:
        """``plain`` as printable text, encrypted and authenticated."""
        ...

    def open(self, sealed: str) -> bytes | None:
        """The sealed data; None if this proxy did not seal it, or its key is no longer configured."""
        ...


class Profile(Enum):
    """The schema to follow where the specification and OpenAI disagree and no common shape exists.

    This concerns the echo of ``text.format.schema``, that of tools other than functions, and ``error`` events.
    """

    OPENRESPONSES = "openresponses"
    OPENAI = "openai"


class ToolKind(Enum):
    """The kind of a tool as the client declared it."""

    FUNCTION = "function"
    SEARCH = "tool_search"
    """A search for tools, run by the client."""
    CUSTOM = "custom"
    """A tool whose input is free text."""


@dataclass(frozen=True, slots=True)
class ToolName:
    """The client's name of a tool; ``namespace`` is None for a top-level tool."""

    kind: ToolKind
    name: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerContext:
    """The facts of the request that every reader and writer of an answer needs."""

    quirks: Quirks = field(default_factory=Quirks)
    tools: Mapping[str, ToolName] = field(default_factory=lambda: MappingProxyType({}))
    """The client's names of the tools, by the function names that the provider has."""
    allowed: frozenset[str] | None = None
    """Function names that may be called; None: all of ``tools``. Other calls are dropped."""
    one_call: bool = False
    """The client forbade parallel calls, and the provider may make them nevertheless: only the first call is kept."""
    call_ids: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The client's call ids by the provider's. Only for ids that were shortened."""
    wants_stream: bool = False
    wants_usage_chunk: bool = False
    """The client asked for a usage chunk at the end of the stream."""
    keeps_opaque: bool = field(default=False, init=False)
    """The client stores opaque reasoning and sends it back."""

    def tool(self, name: str) -> ToolName | None:
        """The tool that a model means by ``name``; None if it was not offered.

        Models sometimes call a member of a namespace by its bare name; that is accepted if the name is unique.
        """
        found = self.tools.get(name)
        if found is not None:
            return found
        bare = [tool for tool in self.tools.values() if tool.name == name]
        return bare[0] if len(bare) == 1 else None

    def begins(self, name: str) -> bool:
        """Whether the name of an offered tool begins with ``name``."""
        return any(other.startswith(name) for other in self.tools)

    def is_whole(self, name: str) -> bool:
        """Whether ``name`` is the name of an offered tool, and not also the beginning of another tool's name."""
        return name in self.tools and not any(other != name and other.startswith(name) for other in self.tools)

    def may_call(self, name: str) -> bool:
        """Whether the client may get a call of the function ``name``."""
        if self.allowed is None:
            return True
        tool = self.tool(name)
        return any(self.tools[other] == tool for other in self.allowed if other in self.tools)
