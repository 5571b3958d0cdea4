"""A conversation as turns, for APIs in which one message contains a complete answer of the model.

An assistant turn contains one answer: text, refusal, reasoning and all calls, each call with its output, regardless of
the output's position in the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from onwards_py.transcode.neutral.content import Part, Refusal, Written, WrittenPart
from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext
from onwards_py.transcode.neutral.request import Call, CallExtra, Message, Output, Reasoning, Step


@dataclass(slots=True)
class Turn:
    """A message under construction.

    None stands for an empty list, because most turns of a long session are plain text, and empty lists would be a large
    part of their cost.
    """

    role: str
    content: Written = ""
    refusal: str = ""
    phase: str = ""
    calls: list[Call] | None = None
    reasoning: list[Reasoning] | None = None
    waiting: int = 0
    """Number of calls without an output so far."""
    joined: Joined | None = None

    def add(self, content: Written) -> None:
        """Append ``content``; `whole` is the joined content."""
        if self.joined is not None:
            self.joined.add(content)
        elif self.content:
            self.joined = Joined(self.content, content)
        else:
            self.content = content

    @property
    def whole(self) -> Written:
        """The whole content."""
        return self.content if self.joined is None else self.joined.content()

    @property
    def answered(self) -> bool:
        """Whether the turn has calls, and each call has its output."""
        return not self.waiting and bool(self.calls)

    def take(self, reasoning: list[Reasoning]) -> None:
        """Add reasoning. The turn keeps the list, so the caller must not change it afterwards."""
        if self.reasoning is None:
            self.reasoning = reasoning
        else:
            self.reasoning += reasoning


def as_parts(content: Written) -> list[WrittenPart]:
    """Content as an array, for joining; an empty string becomes an empty array."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content


class Joined:
    """Joins contents with empty lines between them, without copying the earlier ones for each further one."""

    __slots__ = ("_parts", "_texts")

    def __init__(self, *contents: Written) -> None:
        self._texts: list[str] = []
        self._parts: list[WrittenPart] = []
        for content in contents:
            self.add(content)

    def add(self, content: Written) -> None:
        """Append a content."""
        if isinstance(content, str) and not self._parts:
            if content:
                self._texts.append(content)
        elif content:
            if self._texts:
                self._parts += as_parts("\n\n".join(self._texts))
                self._texts = []
            self._parts += as_parts(content)

    def content(self) -> Written:
        """The joined content."""
        return self._parts or "\n\n".join(self._texts)


class Conversation:
    """Converts the steps of a request to turns. An output is matched to its call only by the call id."""

    __slots__ = (
        "_answered",
        "_context",
        "_extras",
        "_path",
        "_reasoning",
        "_waiting",
        "_write",
        "directed",
        "reasoned",
        "turns",
    )

    def __init__(
        self, path: str, context: TranslationContext, write: Callable[[Iterable[Part]], list[WrittenPart]]
    ) -> None:
        self._path = path
        self._context = context
        self._write = write
        self._waiting: dict[str, list[tuple[Turn, Call]]] = {}
        self._answered: dict[str, Turn] = {}  # call id -> the turn of the last call with this id that has an output
        self._reasoning: list[Reasoning] = []
        self._extras: dict[str, Mapping[str, object]] = {}
        self.directed = False
        """Whether any turn is a system or developer message."""
        self.reasoned = False
        """Whether any turn has reasoning."""
        self.turns: list[Turn | str] = []
        """A string is a user's message of plain text, which needs no object."""

    def read(self, steps: Iterable[Step]) -> None:
        """Take all steps. Raises InvalidRequest."""
        for step in steps:
            if type(step) is str:
                if self._reasoning:
                    self._finish_reasoning()
                self.turns.append(step)
            elif type(step) is Message:
                self._message(step)
            else:
                self._other(step)
        self._finish_reasoning()
        if self._extras:
            for turn in self.turns:
                for call in turn.calls or () if isinstance(turn, Turn) else ():
                    call.extra = self._extras.get(call.call_id)

    def _other(self, step: Step) -> None:
        match step:
            case Call():
                self._call(step)
            case Output():
                self._output(step)
            case Reasoning():
                self._reasoning.append(step)  # it belongs to the next assistant message or call
            case CallExtra():
                self._extras[step.call_id] = step.extra

    def _message(self, message: Message) -> None:
        if message.role == "assistant":
            self._answer(message)
            return
        if self._reasoning:
            self._finish_reasoning()
        content = message.content
        written = content if isinstance(content, str) else self._write(content)
        if message.role != "user":
            self.directed = True
        elif isinstance(written, str):
            self.turns.append(written)
            return
        self.turns.append(Turn(message.role, written))

    def _answer(self, message: Message) -> None:
        """Add an assistant message. Between a call and its output, it is joined to the message with the call."""
        content, refusal = message.content, ""
        if isinstance(content, str):
            written: Written = content
        else:
            if self._context.quirks.refusal_field:
                refusal = "".join(part.text for part in content if isinstance(part, Refusal))
                content = [part for part in content if not isinstance(part, Refusal)]
            written = self._write(content)
        last = self._last_answer()
        if last is None or not self._continues(last):
            last = Turn("assistant", written, refusal)
            self.turns.append(last)
        else:
            last.add(written)
            if refusal:
                last.refusal = f"{last.refusal}\n\n{refusal}" if last.refusal else refusal
        last.phase = message.phase or last.phase
        if self._reasoning:
            self._attach_reasoning(last)

    def _call(self, call: Call) -> None:
        """Add a call. Calls share one assistant message until all of them have outputs.

        Ids may repeat in another round, because some providers restart their numbering in each. Within a round they
        must differ, because outputs are matched by id.
        """
        last = self._last_answer()
        known = last is not None and self._has(last, call.call_id)
        if known and last is not None and last.waiting:
            raise InvalidRequest(f"{call.where}.call_id", f"Two calls of one round have the id {call.call_id!r}.")
        if last is None or (last.calls and not last.waiting and (known or not self._context.quirks.merge_rounds)):
            last = Turn("assistant")
            self.turns.append(last)
        if last.calls is None:
            last.calls = [call]
        else:
            last.calls.append(call)
        last.waiting += 1
        self._waiting.setdefault(call.call_id, []).append((last, call))
        if self._reasoning:
            self._attach_reasoning(last)

    def _output(self, output: Output) -> None:
        if self._reasoning:
            self._attach_reasoning_to_last()
        turn, call = self._waiting[
            output.call_id
        ].pop()  # the last call with this id: an earlier one without output was interrupted
        content = output.content
        call.output = content if isinstance(content, str) else self._write(content)
        turn.waiting -= 1
        self._answered[output.call_id] = turn

    def _has(self, turn: Turn, call_id: str) -> bool:
        """Whether a call with this id is in ``turn``, the last one."""
        if self._answered.get(call_id) is turn:
            return True
        waiting = self._waiting.get(call_id)
        return waiting is not None and bool(waiting) and waiting[-1][0] is turn

    def _last_answer(self) -> Turn | None:
        """The last turn, if it is the assistant's."""
        last = self.turns[-1] if self.turns else None
        return last if isinstance(last, Turn) and last.role == "assistant" else None

    def _continues(self, turn: Turn) -> bool:
        """Whether further text of the assistant belongs to ``turn``, its last turn."""
        if turn.answered:
            return False
        return bool(turn.calls) or self._context.quirks.merge_roles or not (turn.content or turn.refusal)

    def _attach_reasoning(self, turn: Turn) -> None:
        self.reasoned = True
        turn.take(self._reasoning)
        self._reasoning = []

    def _attach_reasoning_to_last(self) -> None:
        """Add pending reasoning to the preceding turn, if it belongs to the same answer.

        Some providers sign a thought after the first text.
        """
        last = self._last_answer()
        if last is not None and last.waiting == len(last.calls or ()):
            self._attach_reasoning(last)

    def _finish_reasoning(self) -> None:
        if self._reasoning:
            self._attach_reasoning_to_last()
        if self._reasoning:
            self._context.drop(f"{self._path}[].reasoning")
            self._reasoning = []
