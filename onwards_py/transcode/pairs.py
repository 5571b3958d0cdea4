"""The pairs of APIs: the only place that knows which reader goes with which writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from onwards_py.transcode.chat.context import ChatContext
from onwards_py.transcode.chat.read_answer import ChatReader
from onwards_py.transcode.chat.read_request import read_request as read_chat
from onwards_py.transcode.chat.write_answer import ChatWriter
from onwards_py.transcode.chat.write_request import write_request as write_chat
from onwards_py.transcode.neutral.context import Ids
from onwards_py.transcode.neutral.machine import LARGEST_ANSWER, Machine
from onwards_py.transcode.neutral.policy import Policy, TranslationContext
from onwards_py.transcode.neutral.quirks import Quirks
from onwards_py.transcode.responses.context import ResponsesContext
from onwards_py.transcode.responses.read_answer import ResponsesReader
from onwards_py.transcode.responses.read_request import read_request as read_responses
from onwards_py.transcode.responses.write_answer import ResponsesWriter
from onwards_py.transcode.responses.write_request import write_request as write_responses

Clock = Callable[[], int]
"""The time in seconds since the epoch."""

AnswerContext = TypeVar("AnswerContext")


@dataclass(frozen=True, slots=True)
class Translated(Generic[AnswerContext]):
    """A translated request."""

    body: dict[str, object]
    """The provider's request."""
    context: AnswerContext
    """What the answer needs."""
    dropped: tuple[str, ...] = ()
    """Paths that do not reach the provider, without indexes, each once."""


def to_chat(request: Mapping[str, object], quirks: Quirks, policy: Policy) -> Translated[ResponsesContext]:
    """A Responses request (parsed JSON) for a provider of Chat Completions. Raises InvalidRequest."""
    translation = TranslationContext(quirks, policy)
    read = read_responses(request, translation)
    neutral = read.request
    written = write_chat(neutral, translation)
    context = ResponsesContext(
        echo=read.echo,
        quirks=quirks,
        profile=read.profile,
        tools=neutral.tools.names.by_chat_name,
        allowed=neutral.choice.allowed(bool(neutral.tools.tools)),
        one_call=neutral.parallel_calls is False,
        call_ids=written.call_ids,
        include=read.include,
        wants_stream=neutral.stream,
        obfuscation=read.obfuscation,
        summary=read.summary,
        phased=read.phased,
        sealer=policy.sealer,
        origin=policy.origin,
    )
    return Translated(written.body, context, tuple(translation.dropped))


def to_responses(request: Mapping[str, object], quirks: Quirks, policy: Policy) -> Translated[ChatContext]:
    """A Chat Completions request (parsed JSON) for a provider of Responses. Raises InvalidRequest.

    Of ``quirks`` those count that are not about the form of chat: ``system``, ``developer_role``, ``images``,
    ``audio``, ``logprobs``, ``replay``, ``efforts``, ``parallel_tool_calls``, ``drop``, ``extra``,
    ``empty_answer_failed``.
    """
    translation = TranslationContext(quirks, policy)
    read = read_chat(request, translation)
    body = write_responses(read.request, translation)
    return Translated(body, read.context(quirks), tuple(translation.dropped))


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
