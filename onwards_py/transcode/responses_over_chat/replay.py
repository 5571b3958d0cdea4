"""Reasoning of earlier turns, given back to the provider in the fields and on the messages where it wants it."""

from __future__ import annotations

from onwards_py.transcode.responses_over_chat.policy import Scope
from onwards_py.transcode.responses_over_chat.quirks import Replay
from onwards_py.transcode.responses_over_chat.turns import Turn

TEXT_FIELDS = ("reasoning_content", "reasoning", "thinking")
DETAILS = "reasoning_details"


class Replayed:
    """Which assistant turn carries which reasoning.

    Clients that keep one reasoning item for several rounds of calls (Codex) leave the later rounds without: those
    carry the reasoning of the round before, as providers that insist on it refuse a call without any.
    """

    def __init__(self, turns: list[Turn], scope: Scope) -> None:
        self._quirks = scope.quirks
        self._by_index: dict[int, list[dict[str, object]]] = {}
        if not any(turn.reasoning for turn in turns):
            return
        if scope.quirks.replay is Replay.NONE or not (scope.quirks.reasoning_out or scope.quirks.replay_details):
            scope.drop("input[].reasoning")
            return
        spans = _spans(turns)
        if scope.quirks.replay is Replay.LAST:
            spans = spans[-1:]
        for span in spans:
            self._take(turns, span)

    def fields(self, index: int) -> dict[str, object]:
        """Message fields for the turn at ``index``."""
        items = self._by_index.get(index)
        if not items:
            return {}
        fields: dict[str, object] = {}
        text = _text(items[0]) if len(items) == 1 else "\n\n".join(filter(None, map(_text, items)))
        if text:
            for name in self._quirks.reasoning_out:
                fields[name] = text
        if self._quirks.replay_details:
            details = [one for item in items for one in _details(item)]
            if details:
                fields[DETAILS] = details
        return fields

    def _take(self, turns: list[Turn], span: range) -> None:
        with_calls = any(turns[index].calls for index in span)
        if self._quirks.replay is Replay.TOOL_TURNS and not with_calls:
            return
        latest: list[dict[str, object]] = []
        for index in span:
            turn = turns[index]
            latest = turn.reasoning or latest
            if turn.reasoning or turn.calls:
                self._by_index[index] = latest


def _spans(turns: list[Turn]) -> list[range]:
    """The stretches between user messages; the last one is the turn under way."""
    ends = [index for index, turn in enumerate(turns) if turn.role == "user"]
    starts = [0, *(end + 1 for end in ends)]
    return [range(start, end) for start, end in zip(starts, [*ends, len(turns)], strict=True)]


def _text(item: dict[str, object]) -> str:
    for name in TEXT_FIELDS:
        text = item.get(name)
        if isinstance(text, str) and text:
            return text
    return ""


def _details(item: dict[str, object]) -> list[object]:
    details = item.get(DETAILS)
    return details if isinstance(details, list) else []
