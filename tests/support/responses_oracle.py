"""The oracle: does a Responses answer keep its promises? An empty list says yes; a breach names promise and place.

Four judges that know nothing of each other: the specification's schema, the openai SDK's models, the stream invariant
read off the events, and the list of what real clients stumble over (which is in the promises' words).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from support.responses_bodies import final_breaches, identity_breaches, item_breaches
from support.responses_invariant import stream_breaches
from support.responses_promises import Breach, Json, Promise, as_dict, as_list
from support.responses_schema import RESOURCE, event_schemas, integer_breaches, schema_breaches
from support.responses_sdk import sdk_breaches, sdk_response_breaches

_FRAME = re.compile(rb"event: ([^\r\n]+)\ndata: ([^\r\n]+)\Z")
_DONE = b"data: [DONE]"


@dataclass(frozen=True)
class Allowance:
    """What a request asked for that leaves the specification's schema.

    ``profile``: whose schema decides where the two have no common shape (``openresponses`` or ``openai``).
    ``item_types``: items of tools outside the specification, such as ``custom_tool_call``.
    """

    profile: str = "openresponses"
    item_types: frozenset[str] = frozenset()


STRICT = Allowance()


def check_resource(body: Json, allow: Allowance = STRICT) -> list[Breach]:
    """A whole answer, as the body of a response."""
    found = [*schema_breaches(RESOURCE, _for_schema(body, allow), "body"), *integer_breaches(body, "body")]
    found += sdk_response_breaches(_for_sdk(body, allow), "body")
    found += final_breaches(body, "body")
    seen: set[str] = set()
    for index, item in enumerate(map(as_dict, as_list(body.get("output")))):
        found += identity_breaches(item, seen, f"output {index}")
        found += item_breaches(item, f"output {index}")
    return found


def check_events(events: list[Json], allow: Allowance = STRICT) -> list[Breach]:
    """All events of one stream, in order."""
    found = stream_breaches(events)
    for number, event in enumerate(events):
        where = f"event {number} {event.get('type')}"
        found += [*_event_schema(event, allow, where), *integer_breaches(event, where)]
        found += sdk_breaches(_event_for_sdk(event, allow), where)
    return found


def check_wire(raw: bytes, allow: Allowance = STRICT) -> list[Breach]:
    """The bytes of one event stream: framing, the end mark, and then its events."""
    events, found = [], []
    *frames, rest = raw.split(b"\n\n")
    if rest:
        found.append(Breach(Promise.FRAMING, f"the stream ends inside {rest[:80]!r}"))
    if frames.count(_DONE) != 1 or frames[-1] != _DONE:
        found.append(Breach(Promise.DONE_MARK, f"the last frame is {(frames or [b''])[-1][:80]!r}"))
    for frame in frames:
        if frame == _DONE or frame.startswith(b":"):
            continue
        event = _framed(frame)
        if event is None:
            found.append(Breach(Promise.FRAMING, f"{frame[:200]!r}"))
        else:
            events.append(event)
    return found + check_events(events, allow)


def events_of(raw: bytes) -> list[Json]:
    """The events in the bytes of a stream; comments and the end mark are left out."""
    return [event for frame in raw.split(b"\n\n") if (event := _framed(frame)) is not None]


def _framed(frame: bytes) -> Json | None:
    match = _FRAME.match(frame)
    if match is None:
        return None
    event = json.loads(match[2])
    return event if isinstance(event, dict) and event.get("type") == match[1].decode() else None


def _event_schema(event: Json, allow: Allowance, where: str) -> list[Breach]:
    name = event_schemas().get(str(event.get("type")))
    if name is None:
        known = any(str(event.get("type")).startswith(f"response.{item}") for item in allow.item_types)
        return [] if known else [Breach(Promise.KNOWN_EVENTS, f"{where}: not in the specification")]
    if as_dict(event.get("item")).get("type") in allow.item_types:
        event = {**event, "item": None}
    if isinstance(event.get("response"), dict):
        event = {**event, "response": _for_schema(as_dict(event["response"]), allow)}
    return schema_breaches(name, event, where)


def _for_schema(body: Json, allow: Allowance) -> Json:
    """``body`` without what the request itself asked to lie outside the schema."""
    if allow.item_types and isinstance(body.get("output"), list):
        kept = [item for item in as_list(body["output"]) if as_dict(item).get("type") not in allow.item_types]
        body = {**body, "output": kept}
    if allow.profile == "openai":
        tools = [tool for tool in as_list(body.get("tools")) if as_dict(tool).get("type") == "function"]
        body = {**body, "tools": tools, "text": _with_format_schema(body.get("text"), None)}
    return body


def _with_format_schema(text: object, schema: object) -> object:
    """``text`` with another ``schema`` in a json_schema format: the one echo that cannot please both schemas."""
    inner = as_dict(as_dict(text).get("format"))
    return {**as_dict(text), "format": {**inner, "schema": schema}} if inner.get("type") == "json_schema" else text


def _for_sdk(body: Json, allow: Allowance) -> Json:
    """``body`` without two members that the SDK's models know too narrowly.

    The codes of errors are an open set by the specification, and clients decide by codes (context_length_exceeded,
    insufficient_quota) that the models do not list.
    """
    if isinstance(as_dict(body.get("error")).get("code"), str):
        body = {**body, "error": {**as_dict(body["error"]), "code": "server_error"}}
    return body if allow.profile == "openai" else {**body, "text": _with_format_schema(body.get("text"), {})}


def _event_for_sdk(event: Json, allow: Allowance) -> Json:
    body = event.get("response")
    return {**event, "response": _for_sdk(body, allow)} if isinstance(body, dict) else event
