"""The neutral form of a request, which a reader returns and a writer takes.

The conversation is a sequence of steps in the order of the request. Each step has its path in the client's request
(``where``), so that a writer can name the parts that its API cannot express.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from onwards_py.transcode.neutral.content import Content, Written
from onwards_py.transcode.neutral.context import ToolKind
from onwards_py.transcode.neutral.names import ToolNames


@dataclass(slots=True)
class Message:
    """A message of any role: user, assistant, system or developer."""

    role: str
    content: Content
    phase: str = ""
    """The phase of an assistant's message: commentary or final_answer; empty if the message has none."""


@dataclass(slots=True)
class Call:
    """A call of a tool by the assistant."""

    call_id: str
    name: str
    arguments: str
    """JSON; the free text of a custom tool."""
    where: str
    custom: bool = False
    output: Written | None = None
    """Set by the writer: the output of the call, once it is known."""
    extra: Mapping[str, object] | None = None
    """Set by the writer: members that the provider sent with the call and expects back, such as a signature."""


class Output(NamedTuple):
    """The output of an earlier call."""

    call_id: str
    content: Content


class Reasoning(NamedTuple):
    """Reasoning of the assistant's next message or call. The reader has dropped opaque reasoning of other origins."""

    text: str
    details: Sequence[object] = ()
    """Typed pieces (``reasoning_details``), some of them opaque."""

    @property
    def opaque(self) -> list[Mapping[str, object]]:
        """The pieces that only the provider can read."""
        pieces = [piece for piece in self.details if isinstance(piece, dict)]
        return [piece for piece in pieces if piece.get("type") == "reasoning.encrypted" and _is_text(piece.get("data"))]


class CallExtra(NamedTuple):
    """Additional members of the call ``call_id``, which may be an earlier or a later step."""

    call_id: str
    extra: Mapping[str, object]


Step = str | Message | Call | Output | Reasoning | CallExtra
"""A step. A string is a user's message of plain text, of which a long session has so many that it needs no object."""


class Tool(NamedTuple):
    """One tool that the model is offered, under a name without namespaces."""

    kind: ToolKind | None
    """None: a tool that a server runs; ``members`` is then the complete declaration."""
    name: str
    members: Mapping[str, object]
    """The declared members: description, parameters, strict, format and any others of the client."""
    where: str


@dataclass(slots=True)
class ToolSet:
    """The tools of a request, in their order."""

    tools: list[Tool] = field(default_factory=list)
    names: ToolNames = field(default_factory=ToolNames)
    left_out: set[str] = field(default_factory=set)
    """Types of server-run tools that are not offered to the model."""


class ChosenTool(NamedTuple):
    """A tool that a choice names."""

    kind: str
    name: str
    members: Mapping[str, object] | None = None
    """The complete entry, if it names a tool that a server runs."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """The tools that may or must be called."""

    mode: str | None = None
    """none, auto or required; None: the client did not set it."""
    only: tuple[ChosenTool, ...] | None = None
    """The tools that may be called; None: any."""
    by_name: bool = False
    """``only`` is one tool, which must be called."""

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
    """The members of a JSON schema format: name, schema, description, strict, and any others of the client."""
    where: str


class Member(NamedTuple):
    """A value with its path, for the error of a writer whose API cannot express it."""

    value: object
    where: str


@dataclass(slots=True)
class Request:
    """One request."""

    model: str
    path: str
    """The path of the conversation: messages, input."""
    steps: Iterable[Step]
    """The steps. The writer may read them lazily: then the first step at fault is reported."""
    instructions: str = ""
    tools: ToolSet = field(default_factory=ToolSet)
    choice: ToolChoice = field(default_factory=ToolChoice)
    parallel_calls: object = None
    format: OutputFormat | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    """Fields with the same name in all APIs of OpenAI's family, without null values: see `COMMON_FIELDS`."""
    max_tokens: Member | None = None
    effort: Member | None = None
    verbosity: Member | None = None
    logprobs: Member | None = None
    """Log probabilities. ``value``: the number of alternatives; None: the client set no number."""
    stream: bool = False
    stream_options: Mapping[str, object] = field(default_factory=dict)
    store: bool = False
    chat_only: Mapping[str, object] = field(default_factory=dict)
    """Fields of Chat Completions that not every API has: n, stop, seed, logit_bias, modalities, audio, prediction."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Fields that the client's API does not define, and fields that only this API has: see ``own``."""
    own: frozenset[str] = frozenset()
    """Names in ``extra`` that only the client's API has, so that no writer can express them."""
    call_ids: dict[str, str] = field(default_factory=dict)
    """Filled by the writer: call ids that it has changed -> the client's ids."""


SAMPLING = ("temperature", "top_p")
PENALTIES = ("presence_penalty", "frequency_penalty")
HINTS = ("metadata", "prompt_cache_key", "safety_identifier", "service_tier", "user")
COMMON_FIELDS = (*SAMPLING, *PENALTIES, *HINTS)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
