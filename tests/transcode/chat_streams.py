"""Hypothesis strategies: legal streams of Chat Completions with the whole answer they add up to, and illegal ones.

A legal stream is drawn in three steps: what is said (acts, in any order), how it is cut into chunks, and how the chunks
are written as bytes. The whole answer is made from the acts alone.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

from hypothesis import strategies as st
from support.responses_promises import Json

TOOLS = ("get_weather", "get_time")
FINISHES = ("stop", "length", "content_filter", "tool_calls", "function_call", "eos", "end_turn")
USAGE: Json = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
_HEAD: Json = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m-1"}

TEXT = st.text(min_size=1, max_size=6)
TEXTS = st.lists(TEXT, min_size=1, max_size=4)
JSON: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@dataclass
class Call:
    """One tool call: its fragments of arguments join to a JSON object, or are all empty."""

    id: str
    name: str
    fragments: list[str]

    @property
    def arguments(self) -> str:
        return "".join(self.fragments)


@dataclass
class Act:
    """Something said: ``kind`` is ``reasoning``, ``text``, ``refusal`` or ``calls``."""

    kind: str
    texts: list[str]
    calls: list[Call]
    interleaved: bool = False


@dataclass
class Stream:
    """A stream, as chunks, and what it adds up to."""

    acts: list[Act]
    chunks: list[Json]
    finish: str
    usage: Json | None
    logprobs: list[Json]

    def joined(self, kind: str) -> str:
        """All that was said of one kind."""
        return "".join(text for act in self.acts if act.kind == kind for text in act.texts)

    @property
    def calls(self) -> list[Call]:
        return [call for act in self.acts for call in act.calls]

    @property
    def in_order(self) -> bool:
        """Whether one whole answer can say the same in the same order: each kind once, in the order of a message."""
        order = ["reasoning", "text", "refusal", "calls"]
        places = [order.index(act.kind) for act in self.acts]
        return places == sorted(set(places))

    def whole(self) -> Json:
        """The answer of a request that did not ask for a stream."""
        message: Json = {"role": "assistant", "content": self.joined("text") or None}
        for name, kind in (("reasoning_content", "reasoning"), ("refusal", "refusal")):
            if self.joined(kind):
                message[name] = self.joined(kind)
        if self.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.calls
            ]
        choice: Json = {"index": 0, "message": message, "finish_reason": self.finish}
        if self.logprobs:
            choice["logprobs"] = {"content": self.logprobs, "refusal": None}
        whole = {**_HEAD, "object": "chat.completion", "choices": [choice]}
        return {**whole, "usage": self.usage} if self.usage else whole


@st.composite
def streams(draw: st.DrawFn, logprobs: bool = False) -> Stream:
    """A legal stream of any order, with at least one act."""
    numbers = itertools.count()
    acts = draw(st.lists(_acts(numbers), min_size=1, max_size=4))
    ids = {call.id: index for index, call in enumerate(call for act in acts for call in act.calls)}
    collected: list[Json] = []
    deltas: list[Json] = []
    extras: list[Json] = []
    for act in acts:
        for delta in _deltas(draw, act, ids):
            tokens = draw(_tokens(str(delta["content"]))) if logprobs and delta.get("content") else []
            collected += tokens
            deltas.append(delta)
            extras.append({"logprobs": {"content": tokens, "refusal": None}} if tokens else {})
    usual = "tool_calls" if ids else "stop"
    finish = draw(st.sampled_from([usual, usual, usual, *FINISHES]))
    usage = draw(st.sampled_from([None, USAGE]))
    chunks = draw(_chunked(list(zip(deltas, extras, strict=True)), finish, usage))
    return Stream(acts, chunks, finish, usage, collected)


@st.composite
def _acts(draw: st.DrawFn, numbers: itertools.count[int]) -> Act:
    kind = draw(st.sampled_from(["reasoning", "text", "text", "refusal", "calls"]))
    if kind != "calls":
        return Act(kind, draw(TEXTS), [])
    calls = draw(st.lists(_calls(numbers), min_size=1, max_size=3))
    return Act(kind, [], calls, draw(st.booleans()))


@st.composite
def _calls(draw: st.DrawFn, numbers: itertools.count[int]) -> Call:
    arguments = draw(st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.integers(), max_size=2))
    written = json.dumps(arguments, ensure_ascii=draw(st.booleans()))
    if not arguments and draw(st.booleans()):
        written = ""
    places = sorted(draw(st.lists(st.integers(0, len(written)), max_size=3)))
    bounds = [0, *places, len(written)]
    return Call(
        f"call_{next(numbers)}", draw(st.sampled_from(TOOLS)), [written[a:b] for a, b in itertools.pairwise(bounds)]
    )


def _deltas(draw: st.DrawFn, act: Act, indexes: dict[str, int]) -> list[Json]:
    if act.kind == "calls":
        return _call_deltas(draw, act, indexes)
    name = {"text": "content", "refusal": "refusal"}.get(act.kind, "reasoning_content")
    if act.kind == "reasoning":
        name = draw(st.sampled_from(["reasoning_content", "reasoning"]))
    return [{name: text} for text in act.texts]


def _call_deltas(draw: st.DrawFn, act: Act, indexes: dict[str, int]) -> list[Json]:
    """First fragments carry id and name, perhaps in pieces; the rest the index, perhaps the name again.

    Interleaved: in turns.
    """
    lines = []
    for call in act.calls:
        index, repeated = indexes[call.id], {"name": call.name} if draw(st.booleans()) else {}
        rest = [_entry(index, {**repeated, "arguments": fragment}) for fragment in call.fragments[1:]]
        at = draw(st.sampled_from([0, 0, 1, 4, len(call.name) - 1]))
        pieces = [call.name[:at], call.name[at:]] if at else [call.name]
        said = [*([""] * (len(pieces) - 1)), call.fragments[0]]
        names = [_entry(index, {"name": one, "arguments": two}) for one, two in zip(pieces, said, strict=True)]
        lines.append([{**names[0], "id": call.id, "type": "function"}, *names[1:], *rest])
    if act.interleaved:
        entries = [entry for turn in itertools.zip_longest(*lines) for entry in turn if entry is not None]
    else:
        entries = [entry for line in lines for entry in line]
    size = draw(st.integers(1, 2))
    return [{"tool_calls": entries[at : at + size]} for at in range(0, len(entries), size)]


def _entry(index: int, function: Json, **more: object) -> Json:
    return {"index": index, **({**more, "type": "function"} if more else {}), "function": function}


@st.composite
def _tokens(draw: st.DrawFn, text: str) -> list[Json]:
    bytes_ = draw(st.sampled_from([list(text.encode()), None]))
    token: Json = {"token": text, "logprob": -draw(st.floats(0, 9)), "bytes": bytes_, "top_logprobs": []}
    return [token]


@st.composite
def _chunked(draw: st.DrawFn, deltas: list[tuple[Json, Json]], finish: str, usage: Json | None) -> list[Json]:
    """Chunks around the deltas: roles, empty ones, nulls, the finish reason and the usage in one of four places."""
    place = draw(st.sampled_from(["separate", "last", "each"])) if usage else "nowhere"
    role = draw(st.sampled_from(["first", "each", "own", "never"]))
    noise: list[Json] = [{}, {"content": ""}, {"content": None}, {"tool_calls": []}, {"reasoning_content": ""}]
    chunks: list[Json] = [_chunk({"role": "assistant", "content": ""})] if role == "own" else []
    for number, (delta, extra) in enumerate(deltas):
        with_role = role == "each" or (role == "first" and number == 0)
        chunks.append(_chunk({"role": "assistant", **delta} if with_role else delta, **extra))
        if draw(st.integers(0, 5)) == 0:
            chunks.append(_chunk(draw(st.sampled_from(noise))))
    chunks.append(_chunk({}, finish_reason=finish))
    if place == "each":
        chunks = [{**chunk, "usage": usage} for chunk in chunks]
    elif place == "last":
        chunks[-1] = {**chunks[-1], "usage": usage}
    elif place == "separate":
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks.append({**_HEAD, "choices": [], "usage": usage})
    return chunks


def _chunk(delta: Json, **more: object) -> Json:
    return {**_HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}]}


@st.composite
def written(draw: st.DrawFn, chunks: list[Json], done: bool = True) -> bytes:
    """The chunks as bytes, in any spelling that the standard of server-sent events allows."""
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    colon = draw(st.sampled_from(["data: ", "data:"]))
    ascii_ = draw(st.booleans())
    frames = [colon + json.dumps(chunk, ensure_ascii=ascii_) for chunk in chunks] + [colon + "[DONE]"] * done
    comments = draw(st.booleans())
    return "".join((f": ping{end}{end}" if comments else "") + frame + end + end for frame in frames).encode()


PLACES = st.lists(st.integers(0, 5000), max_size=10)


@st.composite
def strange_chunks(draw: st.DrawFn) -> list[Json]:
    """Chunks whose members are any JSON value, in any place that a reader may look at."""
    call = st.fixed_dictionaries({}, optional=dict.fromkeys(("index", "id", "type", "function", "custom"), JSON))
    function = st.fixed_dictionaries({}, optional={"name": JSON | st.sampled_from(TOOLS), "arguments": JSON})
    calls = st.lists(
        call | st.fixed_dictionaries({"function": function}, optional={"index": JSON, "id": JSON}), max_size=2
    )
    names = (
        "role",
        "content",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "refusal",
        "annotations",
        "audio",
    )
    values = {name: JSON | st.text(max_size=3) for name in names}
    parts = st.lists(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["text", "thinking", "x"])}, optional={"text": JSON, "thinking": JSON}
        ),
        max_size=2,
    )
    delta = st.fixed_dictionaries({}, optional={**values, "tool_calls": JSON | calls, "function_call": JSON | function})
    delta |= st.fixed_dictionaries({"content": parts})
    choice = st.fixed_dictionaries(
        {}, optional={"index": JSON, "delta": JSON | delta, "message": JSON, "logprobs": JSON, "finish_reason": JSON}
    )
    good = st.fixed_dictionaries({"delta": delta}, optional={"finish_reason": st.sampled_from(FINISHES) | JSON})
    tops = dict.fromkeys(("id", "model", "created", "service_tier", "usage", "error", "object"), JSON)
    counts = st.fixed_dictionaries({}, optional=dict.fromkeys(USAGE, JSON))
    chunk = st.fixed_dictionaries(
        {"choices": JSON | st.lists(choice | good, max_size=2)}, optional={**tops, "usage": counts}
    )
    return draw(
        st.lists(chunk | st.fixed_dictionaries({"choices": st.lists(good, min_size=1, max_size=1)}), max_size=6)
    )
