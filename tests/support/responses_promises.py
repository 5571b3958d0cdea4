"""What every Responses answer promises: the names that the oracle uses when one of them is broken."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

Json = dict[str, object]


class Promise(Enum):
    """One promise each. The value says it, and who breaks without it."""

    SCHEMA = "bodies and events fit the specification's schema (else: compliance suites, strict clients)"
    SDK_TYPES = "bodies and events fit the openai SDK's models, strictly (else: typed clients)"
    INTEGERS = "counts, times and indexes are integers on the wire, not floats or booleans (else: serde clients)"
    KNOWN_EVENTS = "no event has an invented name (else: openai-node throws)"
    NO_ERROR_KEY = "no event has an error at its top level (else: the openai SDKs raise and drop what follows)"
    SEQUENCE = "sequence_number counts 0, 1, 2, ... over all events (else: strict clients, resumption)"
    CREATED_FIRST = "response.created comes first, response.in_progress second (else: openai stream() helpers)"
    BLANK_START = "created and in_progress hold an empty response in progress (else: openai-node, AI SDK)"
    ONE_RESPONSE = "id, created_at and model of the response are the same in all events (else: openai-python raises)"
    ONE_TERMINAL = "exactly one terminal event ends the stream (else: everybody waits or retries)"
    STATUS = "the terminal's name, status, error, incomplete_details and completed_at agree (else: Agents SDK)"
    USAGE = "the terminal has usage in integers, zeros if unknown (else: LlamaIndex, Codex, AI SDK)"
    FINAL_OUTPUT = "the terminal's output is exactly the items done (else: Agents js, openai stream(), LlamaIndex)"
    SERIAL_ITEMS = "an item is added, filled and done before the next is added, or failed (else: Codex, LangChain)"
    OUTPUT_INDEX = "output_index counts the items from 0 and stays with its item (else: openai-node, AI SDK)"
    ITEM_ID = "every event about an item has that item's id (else: AI SDK, opencode)"
    UNIQUE_IDS = "item ids and call ids are unique (else: openai SDKs raise)"
    OWN_IDS = "item ids are ours: prefixed by type, at most 64 characters (else: replays are refused)"
    EMPTY_ADDED = "an item is added empty and in progress, with its role, or name and call_id (else: openai SDKs)"
    SAME_ITEM = "the item done is the item added, with a final status (else: openai-node, AI SDK, Codex)"
    PARTS = "a part is added empty, at the next index, before its text, and done before anything else (else: stream())"
    DELTAS = "the deltas join to the text or arguments done; none says nothing (else: LangChain loses arguments)"
    SAME_TEXT = "part done, item done and the deltas say the same (else: clients disagree with each other)"
    ANNOTATIONS = "text has annotations, and annotation events are those of the part (else: Pydantic AI, AI SDK)"
    LOGPROBS = "text deltas and their done have logprobs, and they add up (else: SDK types)"
    REASONING = "reasoning is in summary and in content alike (else: Agents js, AI SDK show none)"
    INCOMPLETE_LAST = "an incomplete item is the last (calls: may be cut together), and its response is incomplete"
    WHOLE_CALLS = "a completed call has a name, a call_id and arguments to their end (else: agents run half a call)"
    FRAMING = "an event is one event line, one data line, one blank line, LF only (else: the suite's parser)"
    DONE_MARK = "data: [DONE] ends the byte stream, once, behind the terminal (else: openresponses-py)"


class Breach(NamedTuple):
    """A broken promise, and where."""

    promise: Promise
    detail: str


def promises_of(breaches: Iterable[Breach]) -> set[Promise]:
    """Which promises are broken."""
    return {breach.promise for breach in breaches}


def as_dict(value: object) -> Json:
    """``value`` if it is an object, else an empty one: what is missing is then reported by what misses it."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """``value`` if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: object) -> str:
    """``value`` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""
