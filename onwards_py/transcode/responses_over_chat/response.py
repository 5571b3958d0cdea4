"""The whole answer. It goes the way of a streamed one, so that both are the same but for ids."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.messages import Ending
from onwards_py.transcode.responses_over_chat.context import Context, Ids
from onwards_py.transcode.responses_over_chat.errors import malformed
from onwards_py.transcode.responses_over_chat.events import Event
from onwards_py.transcode.responses_over_chat.stream import ChatToEvents


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
    return final_resource(whole_to_events(chat, machine, completed_at))


def whole_to_events(chat: Mapping[str, object], machine: ChatToEvents, now: int) -> list[Event]:
    """All events of an answer that came as a whole."""
    if not isinstance(chat.get("choices"), list) and not chat.get("error"):
        return machine.feed(chat) or machine.fail(malformed("an answer without choices"))
    events = machine.feed(chat)
    machine.done()
    return events + machine.finish(Ending.DONE, now)


def final_resource(events: list[Event]) -> dict[str, object]:
    """The response that the terminal event, the last one, carries."""
    response = events[-1]["response"]
    assert isinstance(response, dict)
    return response
