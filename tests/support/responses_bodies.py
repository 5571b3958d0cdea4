"""What holds of a response and of its items wherever they stand: in a body, in a snapshot, in an item done."""

from __future__ import annotations

import json
from collections.abc import Iterator

from support.responses_promises import Breach, Json, Promise, as_dict, as_list, as_text

TERMINALS = ("completed", "incomplete", "failed")
ITEM_PREFIXES = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "custom_tool_call": "ctc_",
    "image_generation_call": "ig_",
    "tool_search_call": "tsc_",
}
CALLS = frozenset({"function_call", "custom_tool_call"})
REASONS = ("max_output_tokens", "content_filter")
LONGEST_ID = 64


def is_text(value: object, prefix: str = "") -> bool:
    """A string with something in it (behind ``prefix``)."""
    return isinstance(value, str) and value.startswith(prefix) and len(value) > len(prefix)


def identity_breaches(item: Json, seen: set[str], where: str) -> Iterator[Breach]:
    """An item's ids: of our making and new; ``seen`` collects them."""
    item_id, prefix = item.get("id"), ITEM_PREFIXES.get(as_text(item.get("type")), "")
    if not is_text(item_id, prefix) or len(as_text(item_id)) > LONGEST_ID:
        yield Breach(Promise.OWN_IDS, f"{where}: {item_id!r}")
    call_id = item.get("call_id", item_id)
    if call_id is not item_id and (not is_text(call_id) or len(as_text(call_id)) > LONGEST_ID):
        yield Breach(Promise.WHOLE_CALLS, f"{where}: call_id {call_id!r}")
    for each in {as_text(item_id), as_text(call_id)}:
        if each in seen:
            yield Breach(Promise.UNIQUE_IDS, f"{where}: {each!r} was there before")
        seen.add(each)


def item_breaches(item: Json, where: str) -> Iterator[Breach]:
    """An item that is over."""
    kind, status = item.get("type"), item.get("status")
    if status not in ("completed", "incomplete"):
        yield Breach(Promise.SAME_ITEM, f"{where}: status {status!r}")
    if kind == "message":
        yield from _message_breaches(item, where)
    elif kind == "reasoning":
        yield from _reasoning_breaches(item, where)
    elif kind == "function_call" and status == "completed":
        arguments = as_text(item.get("arguments"))
        try:
            json.loads(arguments, strict=False)
        except json.JSONDecodeError as error:
            if error.pos == len(arguments) or "Unterminated" in error.msg:  # what is no JSON may be all that was said
                yield Breach(Promise.WHOLE_CALLS, f"{where}: arguments {arguments!r}")
        except (ValueError, RecursionError):
            pass  # numbers or nesting that Python's reader will not have


def _message_breaches(item: Json, where: str) -> Iterator[Breach]:
    if item.get("role") != "assistant" or not as_list(item.get("content")):
        yield Breach(Promise.SAME_ITEM, f"{where}: a message without role or content")
    for part in map(as_dict, as_list(item.get("content"))):
        if part.get("type") not in ("output_text", "refusal"):
            yield Breach(Promise.PARTS, f"{where}: {part.get('type')!r} in a message")
        if part.get("type") == "output_text" and not isinstance(part.get("annotations"), list):
            yield Breach(Promise.ANNOTATIONS, f"{where}: no annotations")
        if part.get("type") == "output_text" and not isinstance(part.get("logprobs"), list):
            yield Breach(Promise.LOGPROBS, f"{where}: no logprobs")


def _reasoning_breaches(item: Json, where: str) -> Iterator[Breach]:
    summary, content = (
        [(part.get("type"), part.get("text")) for part in map(as_dict, as_list(item.get(key)))]
        for key in ("summary", "content")
    )
    if not isinstance(item.get("summary"), list):
        yield Breach(Promise.REASONING, f"{where}: no summary")
    if {kind for kind, _ in summary} - {"summary_text"} or {kind for kind, _ in content} - {"reasoning_text"}:
        yield Breach(Promise.REASONING, f"{where}: summary {summary!r}, content {content!r}")
    if "".join(as_text(text) for _, text in summary) != "".join(as_text(text) for _, text in content):
        yield Breach(Promise.REASONING, f"{where}: summary {summary!r} is not content {content!r}")
    if not summary and not content and not item.get("encrypted_content"):
        yield Breach(Promise.REASONING, f"{where}: an empty reasoning item")


def start_breaches(body: Json, where: str) -> Iterator[Breach]:
    """The response before its first item."""
    wanted: Json = {"status": "in_progress", "output": [], "error": None, "incomplete_details": None, "usage": None}
    for key, value in {**wanted, "completed_at": None}.items():
        if key not in body or body[key] != value:
            yield Breach(Promise.BLANK_START, f"{where}: {key} is {body.get(key, 'missing')!r}")


def final_breaches(body: Json, where: str) -> Iterator[Breach]:
    """The response when it is over."""
    status = body.get("status")
    if status not in TERMINALS:
        yield Breach(Promise.STATUS, f"{where}: status {status!r}")
    error, details = as_dict(body.get("error")), as_dict(body.get("incomplete_details"))
    if (status == "failed") != (is_text(error.get("code")) and is_text(error.get("message"))):
        yield Breach(Promise.STATUS, f"{where}: {status} with error {body.get('error')!r}")
    if (status == "incomplete") != (details.get("reason") in REASONS):
        yield Breach(Promise.STATUS, f"{where}: {status} with incomplete_details {body.get('incomplete_details')!r}")
    if (status == "completed") != isinstance(body.get("completed_at"), int):
        yield Breach(Promise.STATUS, f"{where}: {status} with completed_at {body.get('completed_at')!r}")
    yield from _usage_breaches(body.get("usage"), where)
    items = [(as_dict(item).get("type"), as_dict(item).get("status")) for item in as_list(body.get("output"))]
    broken = [kind for kind, status_ in items if status_ == "incomplete"]
    early = {kind for kind, status_ in items[:-1] if status_ == "incomplete"} - CALLS
    if early or (broken and status != "incomplete"):
        yield Breach(Promise.INCOMPLETE_LAST, f"{where}: {status} with items {items}")


def _usage_breaches(usage: object, where: str) -> Iterator[Breach]:
    counts = as_dict(usage)
    inner = as_dict(counts.get("input_tokens_details")), as_dict(counts.get("output_tokens_details"))
    found = [counts.get("input_tokens"), counts.get("output_tokens"), counts.get("total_tokens")]
    found += [inner[0].get("cached_tokens"), inner[1].get("reasoning_tokens")]
    if any(type(count) is not int or count < 0 for count in found):
        yield Breach(Promise.USAGE, f"{where}: {usage!r}")
