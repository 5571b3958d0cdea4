"""Events of the Responses API in a line or two, and what a chat client makes of the chunks that they become.

`heard` reads chunks as a client does; every chunk and every whole answer is held against the openai SDK's own types.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from support.transcoding import CountingIds, clock

from onwards_py.messages import Ending
from onwards_py.transcode.chat.context import ChatContext
from onwards_py.transcode.neutral.machine import Machine
from onwards_py.transcode.neutral.pipeline import AnswerBody as ResponsesBody
from onwards_py.transcode.neutral.pipeline import AnswerCollector, ClientResponse, EventFilter
from onwards_py.transcode.pairs import chat_over_responses

Json = dict[str, Any]

PLAIN = ChatContext("m", wants_usage_chunk=True, wants_stream=True)
DONE = b"data: [DONE]\n\n"
USAGE: Json = {
    "input_tokens": 11,
    "output_tokens": 7,
    "total_tokens": 18,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens_details": {"reasoning_tokens": 2},
}


def event(type_: str, **members: object) -> Json:
    return {"type": f"response.{type_}", **members}


def ended(status: str = "completed", output: Iterable[Any] = (), **members: object) -> Json:
    """The terminal event with its response."""
    response = {"object": "response", "status": status, "model": "m-1", "output": list(output), **members}
    return event(status, response=response)


def message(text: str, id_: str = "msg_1", **part: object) -> Json:
    content = [{"type": "output_text", "text": text, "annotations": [], **part}]
    return {"type": "message", "id": id_, "role": "assistant", "status": "completed", "content": content}


def function_call(call_id: str, name: str, arguments: object, id_: str = "fc_1") -> Json:
    return {"type": "function_call", "id": id_, "call_id": call_id, "name": name, "arguments": arguments}


def machine(context: ChatContext = PLAIN, **more: Any) -> Machine:
    return chat_over_responses(context, CountingIds(), clock(), **more)


def completion(response: Json) -> Json:
    """The chat completion for a provider's whole response, or the error envelope."""
    core = machine()
    core.whole(response)
    return core.answer() if core.failure is None else core.failure.envelope()


def chunks(
    events: Iterable[Any],
    *,
    context: ChatContext = PLAIN,
    ending: Ending = Ending.DONE,
    done: bool = False,
    **more: Any,
) -> list[Json]:
    """The chunks for these events."""
    core = machine(context, **more)
    out: list[Json] = []
    for one in events:
        out += core.feed(one)
    out += core.finish(ending, done=done)
    assert core.finished
    check_chunks(out)
    return out


def check_chunks(out: list[Json]) -> None:
    """The SDK's strict type holds; one id; the role first; one finish reason and nothing but usage behind it."""
    assert not any("error" in chunk for chunk in out[:-1])
    told = [chunk for chunk in out if "error" not in chunk]
    if not any("'custom'" in str(chunk) for chunk in told):  # the SDK's types have no streamed custom calls
        for chunk in told:
            ChatCompletionChunk.model_validate_json(orjson.dumps(chunk), strict=True)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in told}) <= 1
    deltas = [chunk["choices"][0] for chunk in told if chunk["choices"]]
    assert ["role" in choice["delta"] for choice in deltas] == [True] + [False] * (len(deltas) - 1) or not deltas
    reasons = [choice["finish_reason"] is not None for choice in deltas]
    failed = len(told) < len(out)
    assert reasons == [False] * (len(deltas) - 1) + [not failed] or (failed and not any(reasons))
    assert all(chunk["choices"] for chunk in told[: len(deltas)])


def heard(out: list[Json]) -> Json:
    """What a client of chat hears: texts joined, calls by index, the end."""
    found: Json = {"content": "", "refusal": "", "reasoning_content": "", "calls": [], "finish": None, "usage": None}
    for chunk in out:
        if "error" in chunk:
            found["error"] = chunk["error"]
            continue
        found["usage"] = chunk.get("usage") or found["usage"]
        for choice in chunk["choices"]:
            _hear(choice, found)
    return found


def _hear(choice: Any, found: Json) -> None:
    delta = choice["delta"]
    for name in ("content", "refusal", "reasoning_content"):
        found[name] = str(found[name]) + (delta.get(name) or "")
    for name in ("annotations", "reasoning_details"):
        if name in delta:
            found[name] = [*found.get(name, []), *delta[name]]
    if choice["logprobs"]:
        found["logprobs"] = [*found.get("logprobs", []), *choice["logprobs"]["content"]]
    calls: Any = found["calls"]
    for entry in delta.get("tool_calls", []):
        body = entry.get("function") or entry.get("custom")
        if "id" in entry:
            assert entry["index"] == len(calls)
            calls.append((entry["id"], body["name"], ""))
        id_, name, before = calls[entry["index"]]
        calls[entry["index"]] = (id_, name, before + body.get("arguments", body.get("input", "")))
    found["finish"] = choice["finish_reason"] or found["finish"]


def told(whole: Any) -> Json:
    """The same of a whole answer."""
    choice = whole["choices"][0]
    said = choice["message"]
    calls = []
    for call in said.get("tool_calls", []):
        body = call.get("function") or call.get("custom")
        calls.append((call["id"], body["name"], body.get("arguments", body.get("input"))))
    found = {name: said.get(name) or "" for name in ("content", "refusal", "reasoning_content")}
    found |= {"calls": calls, "finish": choice["finish_reason"], "usage": whole.get("usage")}
    for name in ("annotations", "reasoning_details"):
        if said.get(name):
            found[name] = said[name]
    if (choice.get("logprobs") or {}).get("content"):
        found["logprobs"] = choice["logprobs"]["content"]
    return found


def sse(events: Iterable[Any], end: bytes = b"") -> bytes:
    """The events as a provider writes them."""
    frames = [b"event: %b\ndata: %b\n\n" % (str(one["type"]).encode(), orjson.dumps(one)) for one in events]
    return b"".join(frames) + end


def event_filter(context: ChatContext = PLAIN, **more: Any) -> EventFilter:
    core = machine(context, **more)
    return EventFilter(core, ResponsesBody(core))


def filtered(pieces: Iterable[bytes], ending: Ending = Ending.DONE, context: ChatContext = PLAIN) -> bytes:
    """What a client that streams is sent; a failure before the first chunk is told as a stream, too."""
    core = event_filter(context)
    out = b"".join(map(core.feed, pieces)) + core.finish(ending)
    return out + core.begin() if core.failure is not None else out


def collected(pieces: Iterable[bytes], ending: Ending = Ending.DONE, context: ChatContext = PLAIN) -> ClientResponse:
    """What a client that did not ask for a stream is answered."""
    core = machine(context)
    collector = AnswerCollector(core, ResponsesBody(core))
    for piece in pieces:
        collector.feed(piece)
    answer = collector.finish(ending)
    if answer.status == 200 and b'"custom"' not in answer.body:
        ChatCompletion.model_validate_json(answer.body, strict=True)
    return answer


def read(raw: bytes) -> list[Json]:
    """The chunks in a chat stream; its frames are data lines alone."""
    frames = raw.removesuffix(DONE).split(b"\n\n")
    assert frames.pop() == b""
    assert all(frame.startswith(b"data: {") and b"\n" not in frame for frame in frames)
    return [orjson.loads(frame[6:]) for frame in frames]
