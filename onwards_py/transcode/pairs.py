"""The translated pairs of APIs: the API of a client, and the API of a provider.

This is the only module that knows which reader goes with which writer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from onwards_py.transcode.chat.context import ChatContext
from onwards_py.transcode.chat.read_answer import ChatReader
from onwards_py.transcode.chat.read_request import read_request as read_chat
from onwards_py.transcode.chat.write_answer import ChatWriter
from onwards_py.transcode.chat.write_request import write_request as write_chat
from onwards_py.transcode.neutral.context import AnswerContext, Ids
from onwards_py.transcode.neutral.machine import LARGEST_ANSWER, Machine
from onwards_py.transcode.neutral.policy import Policy, TranslationContext
from onwards_py.transcode.neutral.quirks import Quirks
from onwards_py.transcode.neutral.request import Request
from onwards_py.transcode.responses.context import ResponsesContext
from onwards_py.transcode.responses.read_answer import ResponsesReader
from onwards_py.transcode.responses.read_request import read_request as read_responses
from onwards_py.transcode.responses.write_answer import ResponsesWriter
from onwards_py.transcode.responses.write_request import write_request as write_responses

Json = Mapping[str, object]
C = TypeVar("C", bound=AnswerContext)
Clock = Callable[[], int]
"""The time in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Translated(Generic[C]):
    """A translated request."""

    body: dict[str, object]
    """The provider's request."""
    context: C
    """The facts of the request that the answer needs."""
    dropped: tuple[str, ...] = ()
    """Paths of dropped parts, without indexes, each once."""


def to_chat(request: Json, quirks: Quirks, policy: Policy) -> Translated[ResponsesContext]:
    """A Responses request (parsed JSON) for a provider of Chat Completions. Raises InvalidRequest."""
    return _translate(read_responses, write_chat, request, TranslationContext(quirks, policy))


def to_responses(request: Json, quirks: Quirks, policy: Policy) -> Translated[ChatContext]:
    """A Chat Completions request (parsed JSON) for a provider of Responses. Raises InvalidRequest.

    Only ``quirks`` that do not concern the form of Chat Completions apply: ``system``, ``developer_role``, ``images``,
    ``audio``, ``logprobs``, ``replay``, ``efforts``, ``parallel_tool_calls``, ``drop``, ``extra``,
    ``empty_answer_failed``.
    """
    return _translate(read_chat, write_responses, request, TranslationContext(quirks, policy))


def responses_over_chat(
    context: ResponsesContext, ids: Ids, clock: Clock, *, trusted: bool = False, limit: int = LARGEST_ANSWER
) -> Machine:
    """The machine for a Responses client and a Chat Completions provider. The options: see `Machine` and `Reader`."""
    writer = ResponsesWriter(context, ids, clock)
    return Machine(ChatReader(context, ids, trusted=trusted), writer, limit=limit)


def chat_over_responses(
    context: ChatContext, ids: Ids, clock: Clock, *, trusted: bool = False, limit: int = LARGEST_ANSWER
) -> Machine:
    """The machine for a Chat Completions client and a Responses provider. The options: see `Machine` and `Reader`."""
    return Machine(ResponsesReader(context, trusted=trusted), ChatWriter(context, ids, clock), limit=limit)


def _translate(
    read: Callable[[Json, TranslationContext], tuple[Request, C]],
    write: Callable[[Request, TranslationContext], dict[str, object]],
    request: Json,
    translation: TranslationContext,
) -> Translated[C]:
    neutral, context = read(request, translation)
    body = write(neutral, translation)
    return Translated(body, context, tuple(translation.dropped))
