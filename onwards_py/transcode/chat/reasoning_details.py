"""``reasoning_details`` (OpenRouter) and ``thinking_blocks`` (LiteLLM): reasoning in typed pieces, some opaque."""

from __future__ import annotations

from collections.abc import Iterable

from onwards_py.transcode.neutral.lenient_json import writable

_SAYING = ("text", "summary", "thinking", "data")
_TEXT_MEMBERS = (*_SAYING, "signature")


def details_text(details: object) -> str:
    """What can be read in the pieces, joined."""
    texts: list[str] = []
    for piece in details if isinstance(details, list) else []:
        if isinstance(piece, dict):
            texts += [text for name in ("text", "summary", "thinking") if isinstance(text := piece.get(name), str)]
    return "".join(texts)


class Details:
    """Collects streamed pieces: those of one type and index are fragments of one, and are joined again."""

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
        """The pieces as a whole answer would have had them."""
        return self._pieces


def joined(items: Iterable[object]) -> list[dict[str, object]]:
    """The ``reasoning_details`` of all reasoning items of one message, in one list.

    A piece that is nothing but a signature signs a piece of an earlier item: some providers sign a thought when the
    text has begun, and refuse thought and signature apart.
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
    """What of ``earlier`` a piece signs that is a signature and nothing else; None if it is more, or signs nothing."""
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
