"""The whole answer. It goes the way of a streamed one, so that both are the same but for ids."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.chat.read_answer import ChatToEvents
from onwards_py.transcode.neutral.context import Context, Ids


def to_resource(
    chat: Mapping[str, object],
    context: Context,
    ids: Ids,
    created_at: int,
    completed_at: int,
    *,
    trusted: bool = False,
) -> dict[str, object]:
    """The ResponseResource (31 members) for a chat completion; ``status`` is ``failed`` if ``chat`` is none.

    Times are in seconds since the epoch.
    """
    machine = ChatToEvents(context, ids, created_at, trusted=trusted)
    machine.whole(chat, completed_at)
    return machine.answer()
