"""The whole answer. It goes the way of a streamed one, so that both are the same but for ids."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.chat.context import Context
from onwards_py.transcode.neutral.context import Ids
from onwards_py.transcode.responses.read_answer import EventsToChunks


def to_completion(
    response: Mapping[str, object], context: Context, ids: Ids, created: int, *, trusted: bool = False
) -> dict[str, object]:
    """The chat completion for a ResponseResource; the error envelope if that failed or is none.

    ``created`` is in seconds since the epoch.
    """
    machine = EventsToChunks(context, ids, created, trusted=trusted)
    machine.whole(response, created)
    failure = machine.failure
    return machine.answer() if failure is None else failure.envelope()
