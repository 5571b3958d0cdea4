"""Reasoning of a chat answer in typed pieces, some opaque, and how a later request sends it back to the provider.

Pieces: ``reasoning_details`` (OpenRouter) and ``thinking_blocks`` (LiteLLM).
"""

from __future__ import annotations

from collections.abc import Iterable

from onwards_py.transcode.neutral.lenient_json import writable
from onwards_py.transcode.neutral.policy import TranslationContext
from onwards_py.transcode.neutral.quirks import Quirks, Replay
from onwards_py.transcode.neutral.request import Reasoning
from onwards_py.transcode.neutral.turns import Turn

_SAYING = ("text", "summary", "thinking", "data")
_TEXT_MEMBERS = (*_SAYING, "signature")


def details_text(details: object) -> str:
    """The readable text of the pieces, joined."""
    texts: list[str] = []
    for piece in details if isinstance(details, list) else []:
        if isinstance(piece, dict):
            texts += [text for name in ("text", "summary", "thinking") if isinstance(text := piece.get(name), str)]
    return "".join(texts)


class Details:
    """Collects streamed pieces: fragments with the same type and index are joined to one piece."""

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: list[dict[str, object]] = []

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def put(self, details: object) -> None:
        """Take the pieces of one chunk."""
        for piece in details if isinstance(details, list) else []:
            if not isinstance(piece, dict) or not writable(piece):
                continue
            last = self._pieces[-1] if self._pieces else None
            if last is not None and _continues(last, piece):
                _join(last, piece)
            else:
                self._pieces.append(dict(piece))

    def merged(self) -> list[dict[str, object]]:
        """The joined pieces, as in an answer that was not streamed."""
        return self._pieces


def joined(items: Iterable[object]) -> list[dict[str, object]]:
    """The ``reasoning_details`` of all reasoning items of one message, in one list.

    A piece that has only a signature belongs to a piece of an earlier item: some providers send the signature of a
    thought after the beginning of the text, and reject thought and signature in separate pieces.
    """
    found: list[dict[str, object]] = []
    for details in items:
        earlier = list(found)
        for piece in details if isinstance(details, list) else ():
            if not isinstance(piece, dict):
                continue
            thought = _signed_by(piece, earlier)
            if thought is None:
                found.append(dict(piece))
            else:
                _join(thought, piece)
    return found


def _signed_by(piece: dict[str, object], earlier: list[dict[str, object]]) -> dict[str, object] | None:
    """The piece in ``earlier`` to which ``piece``, a bare signature, belongs; None if there is none, or ``piece`` has
    more than a signature."""
    if not piece.get("signature") or any(piece.get(name) for name in _SAYING):
        return None
    for other in reversed(earlier):
        if other.get("type") == piece.get("type") and other.get("index") == piece.get("index"):
            return None if other.get("signature") else other
    return None


def _continues(last: dict[str, object], piece: dict[str, object]) -> bool:
    same = piece.get("index") == last.get("index") and piece.get("type") == last.get("type")
    return same and "index" in piece and piece.get("id") in (None, last.get("id"))


def _join(last: dict[str, object], piece: dict[str, object]) -> None:
    for name, value in piece.items():
        before = last.get(name)
        if name in _TEXT_MEMBERS and isinstance(before, str) and isinstance(value, str):
            last[name] = before + value
        elif value is not None:
            last[name] = value


def replayed(turns: list[Turn], path: str, context: TranslationContext) -> dict[int, dict[str, object]]:
    """Message fields with earlier reasoning, by the index of their assistant turn.

    Some clients (Codex) keep one reasoning item for several rounds of calls, so later rounds have none. They get the
    reasoning of the round before, because some providers reject calls without reasoning.
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
    """The ranges of turns between user messages; the last one is the current turn."""
    ends = [index for index, turn in enumerate(turns) if turn.role == "user"]
    starts = [0, *(end + 1 for end in ends)]
    return [range(start, end) for start, end in zip(starts, [*ends, len(turns)], strict=True)]
