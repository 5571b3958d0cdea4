"""What an answer must know of its request: everything that the request leaves for the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Protocol

from onwards_py.transcode.neutral.quirks import Quirks


class Ids(Protocol):
    """Where ids come from; the only source of novelty."""

    def new_id(self, prefix: str) -> str:
        """A fresh id that begins with ``prefix`` (``"resp_"``, ``"msg_"``, ...), of at most 64 characters.

        With an empty prefix it is not empty either; letters and digits.
        """
        ...


class Sealer(Protocol):
    """Closes bytes so that only we can open them again; a client may carry them meanwhile."""

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
    """What the client called a tool before it became a chat function."""

    FUNCTION = "function"
    SEARCH = "tool_search"  # the search for tools that the client runs
    CUSTOM = "custom"  # its one argument is the free text under the key "input"


@dataclass(frozen=True, slots=True)
class ToolName:
    """A tool under the names that the client knows; ``namespace`` is None for a top-level one."""

    kind: ToolKind
    name: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerContext:
    """One translated request, as far as every reader and writer must know it.

    ``tools``: the provider's function name -> the client's name of it.
    ``allowed``: function names that may be called; None: all of ``tools``. Any other call is left out.
    ``one_call``: the client forbade parallel calls and the provider cannot, or may not obey: keep the first.
    ``call_ids``: the provider's call id -> the client's, for those that had to be shortened.
    ``wants_usage_chunk``: the stream ends with its usage.
    ``keeps_opaque``: the client carries what only the provider can read of its reasoning, and gives it back.
    """

    quirks: Quirks = field(default_factory=Quirks)
    tools: Mapping[str, ToolName] = field(default_factory=lambda: MappingProxyType({}))
    allowed: frozenset[str] | None = None
    one_call: bool = False
    call_ids: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    wants_stream: bool = False
    wants_usage_chunk: bool = False
    keeps_opaque: bool = field(default=False, init=False)

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
        """Whether a call of the chat function ``name`` may be shown to the client."""
        if self.allowed is None:
            return True
        tool = self.tool(name)
        return any(self.tools[chat_name] == tool for chat_name in self.allowed if chat_name in self.tools)
