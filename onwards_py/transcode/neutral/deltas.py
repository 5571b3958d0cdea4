"""Deltas, the neutral form of an answer: readers convert provider answers to deltas, writers convert these to events.

The deltas are the union of the APIs, not their intersection; a writer drops, by name, the parts that its API lacks.
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
    """Why an answer ended without a failure."""

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
    """Content has arrived, although perhaps none of it can be written yet."""


class Metadata(Struct, frozen=True):
    """The provider's names of model and service tier; empty if they are missing."""

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
    """Citations in the text of the current message; each citation occurs once."""

    citations: Sequence[Citation]


class ReasoningStart(Struct, frozen=True):
    """A reasoning item begins."""


class ReasoningDelta(Struct, frozen=True):
    """More readable reasoning."""

    text: str


class OpaqueReasoning(Struct, frozen=True):
    """Reasoning that only the provider can read, to be sent back to it. ``origin`` names the form of ``data``."""

    origin: str
    data: object
    id: str = ""


class CallStart(Struct, frozen=True):
    """A tool call begins. ``call_id`` is empty if the provider sent no usable id: the writer then creates one.

    ``name`` and ``namespace`` are the client's.
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
    """A call ends; ``text``: all of its arguments or input. Not ``complete``: the answer was truncated inside it."""

    number: int
    text: str
    complete: bool


class ItemEnd(Struct, frozen=True):
    """A message, an image or a reasoning item ends. Not ``complete``: the answer was truncated inside it.

    ``final``: the message is the final answer, and not a comment before calls.
    """

    complete: bool
    final: bool = False


class Usage(Struct, frozen=True):
    """Token counts; the details are all other counts of the provider, by the names of the Responses API."""

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
"""Deltas that only mark the beginning or end of an item or a part."""

ANNOUNCEMENTS = ITEM_BOUNDS | {Started, Metadata, Usage}
"""Deltas that have no content in any API."""
