"""A conversation as turns: what input items become before they are chat messages.

One assistant turn holds what the provider said in one answer: text, refusal, reasoning and all calls, each call with
the output that came back for it, wherever in the input that stood.
"""

from __future__ import annotations

from dataclasses import dataclass

from onwards_py.transcode.neutral.content import Content
from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext
from onwards_py.transcode.responses.read_content import Joined


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

    ``waiting`` counts the calls that have no output yet. None is an empty list: most turns of a long session are plain
    text, and lists that stay empty would be a good part of their cost.
    """

    role: str
    content: Content = ""
    refusal: str = ""
    phase: str = ""
    calls: list[Call] | None = None
    reasoning: list[dict[str, object]] | None = None
    waiting: int = 0
    joined: Joined | None = None

    def add(self, content: Content) -> None:
        """Put ``content`` behind what it has; `said` is both."""
        if self.joined is not None:
            self.joined.add(content)
        elif self.content:
            self.joined = Joined(self.content, content)
        else:
            self.content = content

    @property
    def said(self) -> Content:
        """The whole content."""
        return self.content if self.joined is None else self.joined.content()

    @property
    def answered(self) -> bool:
        """Whether there are calls and each has its output."""
        return not self.waiting and bool(self.calls)

    def take(self, reasoning: list[dict[str, object]]) -> None:
        """Add reasoning; the list becomes the turn's."""
        if self.reasoning is None:
            self.reasoning = reasoning
        else:
            self.reasoning += reasoning


class Conversation:
    """Takes the items in their order, keeps the turns. Calls and outputs find each other by call id alone.

    ``turns``: a string is a user's plain text; it needs no more than that.
    ``directed``: whether any turn is a system or developer message; ``reasoned``: whether any has reasoning.
    """

    __slots__ = ("_answered", "_extras", "_reasoning", "_scope", "_waiting", "directed", "reasoned", "turns")

    def __init__(self, scope: TranslationContext) -> None:
        self._scope = scope
        self._waiting: dict[str, list[tuple[Turn, Call]]] = {}
        self._answered: dict[str, Turn] = {}  # by call id: the turn of the last call that got its output
        self._reasoning: list[dict[str, object]] = []
        self._extras: dict[str, dict[str, object]] = {}
        self.directed = False
        self.reasoned = False
        self.turns: list[Turn | str] = []

    def say(self, role: str, content: Content) -> None:
        """A message of anybody but the assistant."""
        if self._reasoning:
            self._leave_reasoning()
        if role == "user" and type(content) is str:
            self.turns.append(content)
            return
        if role != "user":
            self.directed = True
        self.turns.append(Turn(role, content))

    def answer(self, content: Content, refusal: str, phase: str = "") -> None:
        """An assistant message. Between a call and its output it belongs to the message that holds the call."""
        last = self._last_answer()
        if last is None or not self._goes_on(last):
            last = Turn("assistant", content, refusal)
            self.turns.append(last)
        else:
            last.add(content)
            if refusal:
                last.refusal = f"{last.refusal}\n\n{refusal}" if last.refusal else refusal
        last.phase = phase or last.phase
        if self._reasoning:
            self._give_reasoning(last)

    def reason(self, fields: dict[str, object]) -> None:
        """Reasoning; it belongs to the assistant message or call that comes next."""
        self._reasoning.append(fields)

    def remember(self, call_id: str, extra: dict[str, object]) -> None:
        """What goes back with a call, which may come before or after it."""
        self._extras[call_id] = extra

    def call(self, call: Call) -> None:
        """A call; calls that were not yet all answered share one assistant message. Raises InvalidRequest.

        Ids may come again in another round: there are providers that count their calls anew in each. In one round
        they must differ, or no output could be given to the right call.
        """
        last = self._last_answer()
        known = last is not None and self._has(last, call.call_id)
        if known and last is not None and last.waiting:
            raise InvalidRequest(f"{call.where}.call_id", f"Two calls of one round have the id {call.call_id!r}.")
        if last is None or (last.calls and not last.waiting and (known or not self._scope.quirks.merge_rounds)):
            last = Turn("assistant")
            self.turns.append(last)
        if last.calls is None:
            last.calls = [call]
        else:
            last.calls.append(call)
        last.waiting += 1
        self._waiting.setdefault(call.call_id, []).append((last, call))
        if self._reasoning:
            self._give_reasoning(last)

    def output(self, call_id: str, content: Content) -> bool:
        """A call's output; False if no call waits for it."""
        waiting = self._waiting.get(call_id)
        if not waiting:
            return False
        if self._reasoning:
            self._give_back_reasoning()
        turn, call = waiting.pop()  # the last one: an earlier turn that still waits was interrupted
        call.output = content
        turn.waiting -= 1
        self._answered[call_id] = turn
        return True

    def end(self) -> None:
        """No more items."""
        self._leave_reasoning()
        if self._extras:
            for turn in self.turns:
                for call in turn.calls or () if isinstance(turn, Turn) else ():
                    call.extra = self._extras.get(call.call_id)

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

    def _goes_on(self, turn: Turn) -> bool:
        """Whether more text of the assistant belongs to this turn of its own, the last one."""
        if turn.answered:
            return False
        return bool(turn.calls) or self._scope.quirks.merge_roles or not (turn.content or turn.refusal)

    def _give_reasoning(self, turn: Turn) -> None:
        self.reasoned = True
        turn.take(self._reasoning)
        self._reasoning = []

    def _give_back_reasoning(self) -> None:
        """Give reasoning that nothing of its answer follows to what came before it, as long as that is one answer.

        Some providers sign a thought when they have begun to speak.
        """
        last = self._last_answer()
        if last is not None and last.waiting == len(last.calls or ()):
            self._give_reasoning(last)

    def _leave_reasoning(self) -> None:
        if self._reasoning:
            self._give_back_reasoning()
        if self._reasoning:
            self._scope.drop("input[].reasoning")
            self._reasoning = []
