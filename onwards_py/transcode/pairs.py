"""The pairs of APIs that are translated: for a client of one, the answers of a provider of another."""

from __future__ import annotations

from collections.abc import Callable

from onwards_py.transcode.chat.context import ChatContext
from onwards_py.transcode.chat.read_answer import ChatReader
from onwards_py.transcode.chat.write_answer import ChatWriter
from onwards_py.transcode.neutral.context import Ids
from onwards_py.transcode.neutral.machine import LARGEST_ANSWER, Machine
from onwards_py.transcode.responses.context import ResponsesContext
from onwards_py.transcode.responses.read_answer import ResponsesReader
from onwards_py.transcode.responses.write_answer import ResponsesWriter

Clock = Callable[[], int]
"""The time in seconds since the epoch."""


def responses_over_chat(
    context: ResponsesContext, ids: Ids, clock: Clock, *, trusted: bool = False, limit: int = LARGEST_ANSWER
) -> Machine:
    """A client of Responses, a provider of Chat Completions. See `Machine` and `Reader` for the options."""
    writer = ResponsesWriter(context, ids, clock)
    return Machine(ChatReader(context, ids, trusted=trusted), writer, limit=limit)


def chat_over_responses(
    context: ChatContext, ids: Ids, clock: Clock, *, trusted: bool = False, limit: int = LARGEST_ANSWER
) -> Machine:
    """A client of Chat Completions, a provider of Responses. See `Machine` and `Reader` for the options."""
    return Machine(ResponsesReader(context, trusted=trusted), ChatWriter(context, ids, clock), limit=limit)
