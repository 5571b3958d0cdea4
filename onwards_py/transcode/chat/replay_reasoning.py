"""Reasoning of earlier turns, given back to the provider in the fields and on the messages where it wants it."""

from __future__ import annotations

from onwards_py.transcode.chat.reasoning_details import joined
from onwards_py.transcode.neutral.policy import TranslationContext
from onwards_py.transcode.neutral.quirks import Quirks, Replay
from onwards_py.transcode.neutral.request import Reasoning
from onwards_py.transcode.neutral.turns import Turn


def replayed(turns: list[Turn], path: str, context: TranslationContext) -> dict[int, dict[str, object]]:
    """Message fields with earlier reasoning, by the index of the assistant turn that carries it.

    Clients that keep one reasoning item for several rounds of calls (Codex) leave the later rounds without: those
    carry the reasoning of the round before, as providers that insist on it refuse a call without any.
    """
    quirks = context.quirks
    if quirks.replay is Replay.NONE or not (quirks.reasoning_out or quirks.replay_details):
        context.drop(f"{path}[].reasoning")
        return {}
    spans = _spans(turns)
    if quirks.replay is Replay.LAST:
        spans = spans[-1:]
    found: dict[int, dict[str, object]] = {}
    for span in spans:
        if quirks.replay is Replay.TOOL_TURNS and not any(turns[index].calls for index in span):
            continue
        latest: list[Reasoning] = []
        for index in span:
            turn = turns[index]
            latest = turn.reasoning or latest
            if latest and (turn.reasoning or turn.calls):
                found[index] = _fields(latest, quirks)
    return found


def _fields(items: list[Reasoning], quirks: Quirks) -> dict[str, object]:
    fields: dict[str, object] = {}
    text = items[0].text if len(items) == 1 else "\n\n".join(item.text for item in items if item.text)
    if text:
        for name in quirks.reasoning_out:
            fields[name] = text
    if quirks.replay_details:
        details = joined([item.details for item in items])
        if details:
            fields["reasoning_details"] = details
    return fields


def _spans(turns: list[Turn]) -> list[range]:
    """The stretches between user messages; the last one is the turn under way."""
    ends = [index for index, turn in enumerate(turns) if turn.role == "user"]
    starts = [0, *(end + 1 for end in ends)]
    return [range(start, end) for start, end in zip(starts, [*ends, len(turns)], strict=True)]
