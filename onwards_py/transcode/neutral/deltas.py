"""What an answer is made of, in the terms of no API: readers make deltas of what a provider sends, writers make events.

The deltas are a union of what the APIs have, not what all of them have; a writer drops by name what its API lacks.
A reader whose API has one item at a time, or that puts its items in order, encloses each between its start and its
`ItemEnd` or `CallEnd`. Deltas of calls carry the call's number, as those of other readers may be interleaved.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

from onwards_py.transcode.neutral.context import ToolKind
from onwards_py.transcode.neutral.failure import Failure
from onwards_py.transcode.neutral.images import GeneratedImage


class Stop(Enum):
    """Why an answer ended that did not fail."""

    END = "end"
    LENGTH = "length"
    FILTER = "content_filter"


class Citation(Struct, frozen=True):
    """A URL that the text from ``start`` to ``end`` (characters of its content part) cites."""

    start: int
    end: int
    url: str
    title: str


class Started(Struct, frozen=True):
    """Content has come, although it may not be possible to write any of it yet."""


class Metadata(Struct, frozen=True):
    """What the provider calls its model and its service tier; empty where it does not name them."""

    model: str = ""
    service_tier: str = ""


class MessageStart(Struct, frozen=True):
    """A message begins."""


class PartStart(Struct, frozen=True):
    """A part of the message begins: text, or a refusal. It ends with the next part or with its message."""

    refusal: bool


class TextDelta(Struct, frozen=True):
    """More text, with the log probabilities of its tokens (see `logprobs`); it may be empty if these are not."""

    text: str
    logprobs: Sequence[dict[str, object]] = ()


class RefusalDelta(Struct, frozen=True):
    """More of a refusal."""

    text: str


class Citations(Struct, frozen=True):
    """What the text of the current message cites; each citation comes once."""

    citations: Sequence[Citation]


class ReasoningStart(Struct, frozen=True):
    """A reasoning item begins."""


class ReasoningDelta(Struct, frozen=True):
    """More readable reasoning."""

    text: str


class OpaqueReasoning(Struct, frozen=True):
    """Reasoning that only the provider can read, to be given back to it. ``origin`` names the form of ``data``."""

    origin: str
    data: object
    id: str = ""


class CallStart(Struct, frozen=True):
    """A tool call begins. ``call_id`` is empty where the provider gave none that will do: the writer makes one.

    ``name`` and ``namespace``: those that the client knows.
    """

    number: int
    call_id: str
    name: str
    kind: ToolKind = ToolKind.FUNCTION
    namespace: str | None = None


class CallDelta(Struct, frozen=True):
    """More of a call's arguments, or of the input of a custom tool."""

    number: int
    text: str


class CallEnd(Struct, frozen=True):
    """A call ends; ``text``: all of its arguments or input. Not ``complete``: the answer was cut inside it."""

    number: int
    text: str
    complete: bool


class ItemEnd(Struct, frozen=True):
    """A message, an image or a reasoning item ends. Not ``complete``: the answer was cut inside it.

    ``final``: it is the answer proper, and not a comment before calls.
    """

    complete: bool
    final: bool = False


class Usage(Struct, frozen=True):
    """Token counts; the details have whatever else the provider counted, by the names of the Responses API."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_details: dict[str, int]
    output_details: dict[str, int]


class Finished(Struct, frozen=True):
    """The answer ended; always the last delta."""

    stop: Stop


class Failed(Struct, frozen=True):
    """The answer failed; always the last delta."""

    failure: Failure


Delta = (
    Started
    | Metadata
    | MessageStart
    | PartStart
    | TextDelta
    | RefusalDelta
    | Citations
    | ReasoningStart
    | ReasoningDelta
    | OpaqueReasoning
    | CallStart
    | CallDelta
    | CallEnd
    | GeneratedImage
    | ItemEnd
    | Usage
    | Finished
    | Failed
)

ITEM_BOUNDS = frozenset({MessageStart, PartStart, ReasoningStart, CallEnd, ItemEnd})
"""Deltas that only mark where an item or a part of it begins or ends."""

ANNOUNCEMENTS = ITEM_BOUNDS | {Started, Metadata, Usage}
"""Deltas that have no content in any API."""
