"""A request without the words of an API: what a reader returns and a writer takes.

The conversation is a sequence of steps in the order of the request. Paths of the client's request (``where``) go along,
so that a writer can name what it has no words for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from onwards_py.transcode.neutral.content import Content, Written
from onwards_py.transcode.neutral.context import ToolKind
from onwards_py.transcode.neutral.tool_names import ToolNames


@dataclass(slots=True)
class Message:
    """A message of any role: user, assistant, system or developer."""

    role: str
    content: Content
    phase: str = ""
    """Of an assistant's message: commentary or final_answer; empty where it has none."""


@dataclass(slots=True)
class Call:
    """A call of a tool by the assistant."""

    call_id: str
    name: str
    arguments: str
    """JSON; for a custom tool its free text."""
    where: str
    custom: bool = False
    output: Written | None = None
    """For the writer: what came back, once it is known."""
    extra: Mapping[str, object] | None = None
    """For the writer: what the provider gave along with the call and wants back with it, such as a signature."""


class Output(NamedTuple):
    """What came back from a call that stands before."""

    call_id: str
    content: Content


class Reasoning(NamedTuple):
    """Reasoning of the assistant's next message or call. The reader has left out what another origin made opaque."""

    text: str
    details: Sequence[object] = ()
    """Typed pieces (``reasoning_details``), opaque ones among them."""

    @property
    def opaque(self) -> list[Mapping[str, object]]:
        """The pieces that only the provider can read."""
        pieces = [piece for piece in self.details if isinstance(piece, dict)]
        return [piece for piece in pieces if piece.get("type") == "reasoning.encrypted" and _is_text(piece.get("data"))]


class CallExtra(NamedTuple):
    """What goes back with the call ``call_id``, which may stand before or behind."""

    call_id: str
    extra: Mapping[str, object]


Step = str | Message | Call | Output | Reasoning | CallExtra
"""A string is a user's plain text: most of a long session is, so it has no object of its own."""


class Tool(NamedTuple):
    """One tool that the model is offered, under a name without namespaces."""

    kind: ToolKind | None
    """None: a tool that a server runs; ``members`` is all of it."""
    name: str
    members: Mapping[str, object]
    """As declared: description, parameters, strict, format and whatever else the client wrote."""
    where: str


@dataclass(slots=True)
class ToolSet:
    """The tools of a request, in their order."""

    tools: list[Tool] = field(default_factory=list)
    names: ToolNames = field(default_factory=ToolNames)
    left_out: set[str] = field(default_factory=set)
    """Types of tools that a server runs and that are not offered."""


class ChosenTool(NamedTuple):
    """One tool that a choice names."""

    kind: str
    name: str
    members: Mapping[str, object] | None = None
    """The whole entry, if it names a tool that a server runs."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which tools may and must be called."""

    mode: str | None = None
    """none, auto or required; None: the client left it open."""
    only: tuple[ChosenTool, ...] | None = None
    """The tools that may be called; None: any."""
    by_name: bool = False
    """``only`` is one tool, which has to be called."""

    @property
    def forced(self) -> bool:
        """Whether the answer has to be a call."""
        return self.by_name or self.mode == "required"

    def allowed(self, offered: bool) -> frozenset[str] | None:
        """Names of the tools that may be called; None: any. ``offered``: whether there are tools at all."""
        if self.mode == "none" or (self.mode is not None and not offered):
            return frozenset()
        if self.only is None or any(tool.members is not None for tool in self.only):
            return None
        return frozenset(tool.name for tool in self.only)


class OutputFormat(NamedTuple):
    """The format of an answer that is not free text."""

    kind: str
    """json_object or json_schema."""
    members: Mapping[str, object]
    """Of a schema: name, schema, description, strict, and whatever else the client wrote."""
    where: str


class Member(NamedTuple):
    """A value with its path, for a writer that has no words for it."""

    value: object
    where: str


@dataclass(slots=True)
class Request:
    """One request."""

    model: str
    path: str
    """The path of the conversation: messages, input."""
    steps: Iterable[Step]
    """May be read while it is written: then the first fault in the order of the request is the one reported."""
    instructions: str = ""
    tools: ToolSet = field(default_factory=ToolSet)
    choice: ToolChoice = field(default_factory=ToolChoice)
    parallel_calls: object = None
    format: OutputFormat | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    """Fields that all APIs of OpenAI's family have under one name, none of them null: see `COMMON_FIELDS`."""
    max_tokens: Member | None = None
    effort: Member | None = None
    verbosity: Member | None = None
    logprobs: Member | None = None
    """``value``: how many alternatives are wanted; None where the client gave no number."""
    stream: bool = False
    stream_options: Mapping[str, object] = field(default_factory=dict)
    store: bool = False
    chat_only: Mapping[str, object] = field(default_factory=dict)
    """What chat has and not every API: n, stop, seed, logit_bias, modalities, audio, prediction."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Fields that the client's API does not define, or that only it has: see ``own``."""
    own: frozenset[str] = frozenset()
    """Names in ``extra`` that only the client's API has: no writer has words for them."""
    call_ids: dict[str, str] = field(default_factory=dict)
    """Filled by the writer: ids of calls that it changed, with the client's."""


SAMPLING = ("temperature", "top_p")
PENALTIES = ("presence_penalty", "frequency_penalty")
HINTS = ("metadata", "prompt_cache_key", "safety_identifier", "service_tier", "user")
COMMON_FIELDS = (*SAMPLING, *PENALTIES, *HINTS)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
