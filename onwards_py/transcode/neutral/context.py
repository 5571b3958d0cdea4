"""What an answer must know of its request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Protocol

from onwards_py.transcode.neutral.quirks import Quirks


class Ids(Protocol):
    """Makes ids; the only source of randomness."""

    def new_id(self, prefix: str) -> str:
        """A fresh id that begins with ``prefix`` (``"resp_"``, ``"msg_"``, ...), of at most 64 characters.

        With an empty prefix it is not empty either; letters and digits.
        """
        ...


class Sealer(Protocol):
    """Encrypts bytes that a client carries, so that only this proxy can read them."""

    def seal(self, plain: bytes) -> str:
        """Printable, opaque and authenticated."""
        ...

    def open(self, sealed: str) -> bytes | None:
        """What was sealed; None if it was not sealed by us, or with a key that is gone."""
        ...


class Profile(Enum):
    """Whose schema is followed where the specification's and OpenAI's disagree and no common shape exists.

    That is: the echo of ``text.format.schema`` and of tools other than functions, and the body of ``error`` events.
    """

    OPENRESPONSES = "openresponses"
    OPENAI = "openai"


class ToolKind(Enum):
    """The kind of a tool as the client declared it."""

    FUNCTION = "function"
    SEARCH = "tool_search"
    """The search for tools that the client runs."""
    CUSTOM = "custom"
    """A tool whose input is free text."""


@dataclass(frozen=True, slots=True)
class ToolName:
    """A tool under the names that the client knows; ``namespace`` is None for a top-level one."""

    kind: ToolKind
    name: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerContext:
    """What every reader and writer of an answer must know of the request."""

    quirks: Quirks = field(default_factory=Quirks)
    tools: Mapping[str, ToolName] = field(default_factory=lambda: MappingProxyType({}))
    """The client's names of the tools, by the function names that the provider has."""
    allowed: frozenset[str] | None = None
    """Function names that may be called; None: all of ``tools``. Any other call is left out."""
    one_call: bool = False
    """The client forbade parallel calls, and the provider cannot be told or may not obey: the first call is kept."""
    call_ids: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The client's call ids, by the provider's, for those that had to be shortened."""
    wants_stream: bool = False
    wants_usage_chunk: bool = False
    """The stream ends with its usage."""
    keeps_opaque: bool = field(default=False, init=False)
    """The client carries opaque reasoning and gives it back."""

    def tool(self, name: str) -> ToolName | None:
        """The tool that a model means by ``name``; None if it was not offered.

        Models call a member of a namespace by its bare name now and then: understood where only one has it.
        """
        found = self.tools.get(name)
        if found is not None:
            return found
        bare = [tool for tool in self.tools.values() if tool.name == name]
        return bare[0] if len(bare) == 1 else None

    def begins(self, name: str) -> bool:
        """Whether ``name`` is the beginning of a tool's that was offered, or all of it."""
        return any(other.startswith(name) for other in self.tools)

    def is_whole(self, name: str) -> bool:
        """Whether ``name`` is that of a tool that was offered, and cannot be the beginning of another one's."""
        return name in self.tools and not any(other != name and other.startswith(name) for other in self.tools)

    def may_call(self, name: str) -> bool:
        """Whether a call of the function ``name`` may be shown to the client."""
        if self.allowed is None:
            return True
        tool = self.tool(name)
        return any(self.tools[other] == tool for other in self.allowed if other in self.tools)
