"""A conversation as turns: what input items become before they are chat messages.

One assistant turn holds what the provider said in one answer: text, refusal, reasoning and all calls, each call with
the output that came back for it, wherever in the input that stood.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onwards_py.transcode.dialects.chat import Content
from onwards_py.transcode.responses_over_chat.content import join
from onwards_py.transcode.responses_over_chat.policy import Scope


@dataclass(slots=True)
class Call:
    """One tool call; ``output`` is None until it is answered. ``where`` is the path of its item.

    ``extra``: what the provider gave along with the call and wants back with it, such as a signature.
    """

    call_id: str
    chat_id: str
    name: str
    arguments: str
    where: str
    output: Content | None = None
    extra: dict[str, object] | None = None


@dataclass(slots=True)
class Turn:
    """One message to be. ``reasoning`` holds the provider's own message fields, one mapping for each reasoning item.

    ``waiting`` counts the calls that have no output yet.
    """

    role: str
    content: Content = ""
    refusal: str = ""
    calls: list[Call] = field(default_factory=list)
    reasoning: list[dict[str, object]] = field(default_factory=list)
    waiting: int = 0

    @property
    def answered(self) -> bool:
        """Whether there are calls and each has its output."""
        return not self.waiting and bool(self.calls)


class Conversation:
    """Takes the items in their order, keeps the turns. Calls and outputs find each other by call id alone."""

    __slots__ = ("_extras", "_reasoning", "_scope", "_waiting", "turns")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._waiting: dict[str, list[tuple[Turn, Call]]] = {}
        self._reasoning: list[dict[str, object]] = []
        self._extras: dict[str, dict[str, object]] = {}
        self.turns: list[Turn] = []

    def say(self, role: str, content: Content) -> None:
        """A message of anybody but the assistant."""
        self._leave_reasoning()
        self.turns.append(Turn(role, content))

    def answer(self, content: Content, refusal: str) -> None:
        """An assistant message. Between a call and its output it belongs to the message that holds the call."""
        last = self.turns[-1] if self.turns else None
        together = last is not None and last.role == "assistant" and not last.answered
        if last is None or not together or not (last.calls or self._scope.quirks.merge_roles or self._is_bare(last)):
            last = Turn("assistant")
            self.turns.append(last)
        last.content = join(last.content, content)
        if refusal:
            last.refusal = f"{last.refusal}\n\n{refusal}" if last.refusal else refusal
        self._take_reasoning(last)

    def reason(self, fields: dict[str, object]) -> None:
        """Reasoning; it belongs to the assistant message or call that comes next."""
        self._reasoning.append(fields)

    def remember(self, call_id: str, extra: dict[str, object]) -> None:
        """What goes back with a call, which may come before or after it."""
        self._extras[call_id] = extra

    def call(self, call: Call) -> None:
        """A call; calls that were not yet all answered share one assistant message."""
        last = self.turns[-1] if self.turns else None
        if last is None or last.role != "assistant" or (last.answered and not self._scope.quirks.merge_rounds):
            last = Turn("assistant")
            self.turns.append(last)
        last.calls.append(call)
        last.waiting += 1
        self._waiting.setdefault(call.call_id, []).append((last, call))
        self._take_reasoning(last)

    def output(self, call_id: str, content: Content) -> bool:
        """A call's output; False if no call waits for it."""
        waiting = self._waiting.get(call_id)
        if not waiting:
            return False
        turn, call = waiting.pop(0)
        call.output = content
        turn.waiting -= 1
        return True

    def end(self) -> None:
        """No more items."""
        self._leave_reasoning()
        if self._extras:
            for turn in self.turns:
                for call in turn.calls:
                    call.extra = self._extras.get(call.call_id)

    def _is_bare(self, turn: Turn) -> bool:
        return not (turn.content or turn.refusal)

    def _take_reasoning(self, turn: Turn) -> None:
        if self._reasoning:
            turn.reasoning += self._reasoning
            self._reasoning = []

    def _leave_reasoning(self) -> None:
        if self._reasoning:
            self._scope.drop("input[].reasoning")
            self._reasoning = []
