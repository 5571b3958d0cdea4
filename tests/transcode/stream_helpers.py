"""Chat chunks in a line or two, and what becomes of them; every answer is held against the oracle on the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from support.responses_oracle import Allowance, check_events
from support.responses_promises import Json, as_dict, as_list
from support.transcoding import CountingIds, allowance_of, answer_context, clock

from onwards_py.messages import Ending
from onwards_py.transcode.neutral.machine import Machine
from onwards_py.transcode.pairs import responses_over_chat
from onwards_py.transcode.responses.context import ResponsesContext

PLAIN = answer_context()


def with_quirks(**quirks: object) -> ResponsesContext:
    """The usual request at a provider with these ways."""
    return replace(PLAIN, quirks=replace(PLAIN.quirks, **quirks))  # type: ignore[arg-type]


def delta(finish: str | None = None, **members: object) -> Json:
    """A chunk with one choice."""
    return {"choices": [{"index": 0, "delta": members, "finish_reason": finish}]}


def text(content: str, **more: object) -> Json:
    return delta(content=content, **more)  # type: ignore[arg-type]


def thought(content: str) -> Json:
    return delta(reasoning_content=content)


def call(index: int | None, id_: object = None, name: object = None, arguments: object = None) -> Json:
    """A chunk with one entry of ``tool_calls``; what is None is left out."""
    return delta(tool_calls=[entry(index, id_, name, arguments)])


def entry(index: int | None, id_: object = None, name: object = None, arguments: object = None) -> Json:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    members = (("index", index), ("id", id_), ("function", function))
    return {key: value for key, value in members if value is not None}


def usage(prompt: int, completion: int, **more: object) -> Json:
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion, **more}}


def machine(context: ResponsesContext = PLAIN, **more: object) -> Machine:
    return responses_over_chat(context, CountingIds(), clock(), **more)  # type: ignore[arg-type]


def events(
    chunks: Iterable[Json],
    finish: str | None = "stop",
    *,
    context: ResponsesContext = PLAIN,
    done: bool = True,
    ending: Ending = Ending.DONE,
    allow: Allowance | None = None,
) -> list[Json]:
    """All events for ``chunks``, one with ``finish`` and the end mark; none of the oracle's promises is broken."""
    core = machine(context)
    out: list[Json] = []
    for chunk in [*chunks, *([delta(finish)] if finish else [])]:
        out += core.feed(chunk)
    out += core.finish(ending, done=done)
    assert check_events(out, allow or allowance_of(context)) == []
    return out


def final(out: list[Json]) -> Json:
    """The response in the terminal event."""
    return as_dict(out[-1]["response"])


def items(out: list[Json]) -> list[Json]:
    """The items of the final response."""
    return [as_dict(item) for item in as_list(final(out)["output"])]


def kinds(out: list[Json]) -> list[str]:
    """Their types, in order."""
    return [str(item["type"]) for item in items(out)]


def of_type(out: list[Json], type_: str) -> list[Json]:
    """The events of one type, without the leading ``response.``."""
    return [event for event in out if event["type"] == f"response.{type_}"]
