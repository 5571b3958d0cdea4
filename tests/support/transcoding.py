"""The transcoder under test, with ids from a counter, fixed times and a sealer that hides nothing."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterable

from onwards_py.messages import Ending
from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral.context import ToolKind
from onwards_py.transcode.neutral.pipeline import AnswerBody as ChatBody
from onwards_py.transcode.neutral.pipeline import AnswerCollector, ClientResponse, EventFilter
from onwards_py.transcode.neutral.policy import Policy
from onwards_py.transcode.pairs import responses_over_chat, to_chat
from onwards_py.transcode.responses.context import ResponsesContext
from support.responses_oracle import Allowance
from support.responses_promises import Json

CREATED, ENDED = 1_700_000_000, 1_700_000_007


class CountingIds:
    """Ids that count: ``resp_0``, ``msg_1``, ..."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def new_id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers)}"


def clock() -> Callable[[], int]:
    """The time when an answer is created, then that when it ends."""
    times = iter((CREATED, ENDED))
    return lambda: next(times)


class PlainSealer:
    """Seals so that anybody can open it: what is inside stays readable in expectations."""

    def seal(self, plain: bytes) -> str:
        return "plain." + base64.urlsafe_b64encode(plain).decode()

    def open(self, sealed: str) -> bytes | None:
        return base64.urlsafe_b64decode(sealed[6:]) if sealed.startswith("plain.") else None


def answer_context(preset: str = "generic", **more: object) -> ResponsesContext:
    """The context of a small streamed request with two functions; ``more`` are members of the request."""
    tools = [{"type": "function", "name": name, "parameters": None} for name in ("get_weather", "get_time")]
    request: Json = {"model": "m", "input": "x", "stream": True, "tools": tools, **more}
    return to_chat(request, PRESETS[preset], Policy(sealer=PlainSealer())).context


def allowance_of(context: ResponsesContext) -> Allowance:
    """What the request behind ``context`` asked for outside the specification."""
    custom = any(tool.kind is ToolKind.CUSTOM for tool in context.tools.values())
    return Allowance(context.profile.value, frozenset({"custom_tool_call"} if custom else ()))


def translate(raw: bytes, context: ResponsesContext, ending: Ending) -> bytes:
    """What a client is sent for a provider's stream that arrives in one piece."""
    return translate_pieces([raw], context, ending)


def translate_pieces(pieces: Iterable[bytes], context: ResponsesContext, ending: Ending) -> bytes:
    """The same, as it was cut; a failure before the first event is told as a stream, too."""
    machine = responses_over_chat(context, CountingIds(), clock())
    events = EventFilter(machine, ChatBody(machine))
    out = b"".join(map(events.feed, pieces)) + events.finish(ending)
    return out + events.begin() if events.failure is not None else out


def collect_pieces(pieces: Iterable[bytes], context: ResponsesContext, ending: Ending) -> ClientResponse:
    """What a client that did not ask for a stream is answered."""
    machine = responses_over_chat(context, CountingIds(), clock())
    collector = AnswerCollector(machine, ChatBody(machine))
    for piece in pieces:
        collector.feed(piece)
    return collector.finish(ending)


def whole(answer: Json, context: ResponsesContext, *, trusted: bool = False) -> Json:
    """The response for a provider's whole answer, failed or not."""
    machine = responses_over_chat(context, CountingIds(), clock(), trusted=trusted)
    machine.whole(answer)
    return machine.answer()
