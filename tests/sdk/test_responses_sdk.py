"""The OpenAI SDK's Responses API against the running program, whose provider only has Chat Completions."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import FunctionToolParam, Response, ResponseFunctionToolCall
from pydantic import BaseModel
from support.chat_model import ChatModel
from support.program import Program
from support.responses_oracle import check_resource, check_wire
from support.responses_sdk import sdk_events

WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "Tell the weather.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
TIME: FunctionToolParam = {**WEATHER, "name": "get_time"}


class Event(BaseModel):
    """What a structured answer is parsed into."""

    name: str
    days: int
    guests: list[str]


@pytest.fixture
def client(translating: Program) -> OpenAI:
    return OpenAI(base_url=translating.url + "/v1", api_key="sk", max_retries=0, timeout=10)


def calls_of(response: Response) -> list[ResponseFunctionToolCall]:
    return [item for item in response.output if item.type == "function_call"]


def on_the_wire(client: OpenAI, model: str, said: str) -> bytes:
    """A stream's bytes."""
    with client.responses.with_streaming_response.create(model=model, input=said, stream=True) as response:
        return response.read()


def test_a_whole_answer(client: OpenAI) -> None:
    """Text, usage with its details, and every field that the specification asks for."""
    raw = client.responses.with_raw_response.create(model="m", input="hello", instructions="Be kind.")
    assert check_resource(json.loads(raw.text)) == []
    response = raw.parse()
    assert (response.output_text, response.status) == ("You said: hello", "completed")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (11, 7, 18)
    assert response.usage.input_tokens_details.cached_tokens == 3
    assert response.usage.output_tokens_details.reasoning_tokens == 2
    assert response.instructions == "Be kind."


def test_events_are_typed_and_valid(client: OpenAI) -> None:
    """Each event is of the SDK's own class, and all of them together keep every promise."""
    events = list(client.responses.create(model="m", input="think, then say hello", stream=True))
    assert all(type(event) is sdk_events()[event.type] for event in events)
    assert check_wire(on_the_wire(client, "m", "think, then say hello")) == []
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == "You said: think, then say hello"
    reasoning = "".join(event.delta for event in events if event.type == "response.reasoning_summary_text.delta")
    assert reasoning == "Let me think."
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage is not None
    assert events[-1].response.usage.total_tokens == 18


@pytest.mark.parametrize("said", ["hello", "think hard", "weather, please"])
def test_the_stream_helper_agrees_with_the_whole_answer(client: OpenAI, said: str) -> None:
    """``responses.stream()`` follows every event strictly; what it puts together is what the whole answer says."""
    whole = client.responses.create(model="m", input=said, tools=[WEATHER, TIME])
    with client.responses.stream(model="m", input=said, tools=[WEATHER, TIME]) as stream:
        streamed = stream.get_final_response()
    assert [item.type for item in streamed.output] == [item.type for item in whole.output]
    assert streamed.output_text == whole.output_text
    found, expected = calls_of(cast(Response, streamed)), calls_of(whole)
    assert [(c.name, c.arguments, c.call_id) for c in found] == [(c.name, c.arguments, c.call_id) for c in expected]


def test_an_answer_is_parsed(client: OpenAI, model: ChatModel) -> None:
    """``responses.parse()``: the schema reaches the provider, the object comes back, whole and streamed."""
    parsed = client.responses.parse(model="plain", input="an event", text_format=Event)
    assert parsed.output_parsed == Event(name="Ulm", days=3, guests=["Ulm"])
    chat_format = model.asked[-1]["response_format"]
    assert chat_format["type"] == "json_schema"
    assert chat_format["json_schema"]["schema"]["required"] == ["name", "days", "guests"]
    with client.responses.stream(model="plain", input="an event", text_format=Event) as stream:
        assert stream.get_final_response().output_parsed == Event(name="Ulm", days=3, guests=["Ulm"])


@pytest.mark.parametrize("stream", [False, True])
def test_a_round_trip_with_tools(client: OpenAI, model: ChatModel, stream: bool) -> None:
    """Two calls at once, their outputs, and the answer that follows from them; all items go back as they came."""

    def ask(items: list[Any]) -> Response:
        if not stream:
            return client.responses.create(model="m", input=items, tools=[WEATHER, TIME], store=False)
        with client.responses.stream(model="m", input=items, tools=[WEATHER, TIME], store=False) as events:
            return events.get_final_response()

    history: list[Any] = [{"role": "user", "content": "weather, and think"}]
    first = ask(history)
    calls = calls_of(first)
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("get_weather", {"city": "Ulm"}),
        ("get_time", {"city": "Ulm"}),
    ]
    history += [item.model_dump(mode="json", exclude_unset=True) for item in first.output]
    history += [{"type": "function_call_output", "call_id": c.call_id, "output": f"{c.name}!"} for c in calls]
    assert ask(history).output_text == "It is get_weather! and get_time!."
    roles = [message["role"] for message in model.asked[-1]["messages"]]
    assert roles == ["user", "assistant", "tool", "tool"]
    assert len(model.asked[-1]["messages"][1]["tool_calls"]) == 2


def test_reasoning_goes_back_sealed(client: OpenAI, model: ChatModel) -> None:
    """A client without state: what it carries is opened for the provider."""
    first = client.responses.create(
        model="m", input="think of weather", tools=[WEATHER], store=False, include=["reasoning.encrypted_content"]
    )
    items: list[Any] = [{"role": "user", "content": "think of weather"}]
    for item in first.output:
        items.append(item.model_dump(mode="json", exclude_unset=True))
        if item.type == "reasoning":
            assert item.encrypted_content
            items[-1] |= {"summary": [], "content": None}
    items.append({"type": "function_call_output", "call_id": calls_of(first)[0].call_id, "output": "sunny"})
    second = client.responses.create(model="m", input=items, tools=[WEATHER], store=False)
    assert second.output_text == "It is sunny."
    assert model.asked[-1]["messages"][1]["reasoning_content"] == "Let me think."


def test_an_error_is_the_sdks_own_class(client: OpenAI) -> None:
    """Status, code and Retry-After; before a stream, too."""
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError) as caught:
            client.responses.create(model="fails", input="x", stream=stream)
        assert caught.value.code == "rate_limit_exceeded"
        assert caught.value.response.headers["retry-after"] == "7"


def test_what_cannot_be_translated_is_a_bad_request(client: OpenAI) -> None:
    """It names the member."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="m", input="x", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"


def test_a_cut_stream_ends_in_a_failed_response(client: OpenAI) -> None:
    """No exception hides it, and no completed event pretends."""
    events = list(client.responses.create(model="cut", input="hello there", stream=True))
    assert check_wire(on_the_wire(client, "cut", "hello there")) == []
    assert events[-1].type == "response.failed"
    assert events[-1].response.error is not None


async def test_many_at_a_time(translating: Program) -> None:
    """Streams and whole answers mixed, each with its own text."""
    async with AsyncOpenAI(base_url=translating.url + "/v1", api_key="sk", max_retries=0) as client:

        async def streamed(number: int) -> str:
            async with client.responses.stream(model="m", input=f"number {number}") as stream:
                return (await stream.get_final_response()).output_text

        async def whole(number: int) -> str:
            return (await client.responses.create(model="m", input=f"number {number}")).output_text

        found = await asyncio.gather(*(streamed(n) for n in range(10)), *(whole(n) for n in range(10)))
    assert found == [f"You said: number {n}" for n in range(10)] * 2
