"""openai-agents and langchain-openai, by the Responses API, against the running program in translate mode."""

from __future__ import annotations

import json
from typing import Any

import agents
import pytest
from agents import Agent, ModelSettings, OpenAIResponsesModel, RunConfig, Runner, function_tool
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic import BaseModel, SecretStr
from support.chat_model import ChatModel
from support.program import Program

QUIET = RunConfig(tracing_disabled=True)


class Event(BaseModel):
    """What a structured answer is parsed into."""

    name: str
    days: int


def weather_of(city: str) -> str:
    return f"sunny in {city}"


# openai-agents


def an_agent(translating: Program, name: str = "m", **more: Any) -> Agent[None]:
    client = AsyncOpenAI(base_url=translating.url + "/v1", api_key="sk", max_retries=0)
    model = OpenAIResponsesModel(model=name, openai_client=client)
    settings = ModelSettings(store=False, include_usage=True)
    return Agent(name="tester", instructions="Be short.", model=model, model_settings=settings, **more)


@function_tool
def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return weather_of(city)


@function_tool
def get_time(city: str) -> str:
    """Tell the time in a city."""
    return "noon"


async def test_an_agent_calls_its_tools(translating: Program, model: ChatModel) -> None:
    """Two calls at once, run by the agent, and the answer that follows; all items go back as they came.

    Responses case K1.
    """
    result = await Runner.run(
        an_agent(translating, tools=[get_weather, get_time]), "think of the weather", run_config=QUIET
    )
    assert result.final_output == "It is sunny in Ulm and noon."
    assert result.context_wrapper.usage.total_tokens == 36
    roles = [message["role"] for message in model.asked[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool"]


async def test_an_agent_calls_its_tools_in_streams(translating: Program) -> None:
    """The same, by events."""
    result = Runner.run_streamed(an_agent(translating, tools=[get_weather]), "think of the weather", run_config=QUIET)
    kinds = [event.item.type async for event in result.stream_events() if event.type == "run_item_stream_event"]
    assert result.final_output == "It is sunny in Ulm."
    assert kinds == ["reasoning_item", "tool_call_item", "tool_call_output_item", "message_output_item"]


async def test_an_agent_hands_its_conversation_on(translating: Program) -> None:
    """A second turn with the items of the first."""
    agent = an_agent(translating, tools=[get_weather])
    first = await Runner.run(agent, "think of the weather", run_config=QUIET)
    again: list[Any] = [*first.to_input_list(), {"role": "user", "content": "thanks"}]
    assert (await Runner.run(agent, again, run_config=QUIET)).final_output == "You said: thanks"


async def test_an_agent_with_an_output_type(translating: Program) -> None:
    """Structured output."""
    result = await Runner.run(an_agent(translating, "plain", output_type=Event), "an event", run_config=QUIET)
    assert result.final_output == Event(name="Ulm", days=3)


async def test_an_agent_hears_of_a_cut_stream(translating: Program) -> None:
    """An exception, not an empty answer."""
    result = Runner.run_streamed(an_agent(translating, "cut"), "hello there", run_config=QUIET)
    with pytest.raises(agents.AgentsException):
        async for _ in result.stream_events():
            pass


# langchain-openai


def a_chat(translating: Program, name: str = "m", **more: Any) -> ChatOpenAI:
    key = SecretStr("sk")
    return ChatOpenAI(
        model=name, base_url=translating.url + "/v1", api_key=key, use_responses_api=True, max_retries=0, **more
    )


@tool("get_weather")
def lc_weather(city: str) -> str:
    """Tell the weather of a city."""
    return weather_of(city)


@tool("get_time")
def lc_time(city: str) -> str:
    """Tell the time in a city."""
    return "noon"


async def said_by(chat: Any, messages: list[Any], stream: bool) -> AIMessage:
    """One answer, whole or put together of its chunks."""
    if not stream:
        whole = await chat.ainvoke(messages)
        assert isinstance(whole, AIMessage)
        return whole
    total = None
    async for piece in chat.astream(messages):
        total = piece if total is None else total + piece
    assert isinstance(total, AIMessage)
    return total


@pytest.mark.parametrize("stream", [False, True])
async def test_langchain_reads_text_and_usage(translating: Program, stream: bool) -> None:
    """With the tokens that were counted."""
    answer = await said_by(a_chat(translating), [HumanMessage("think, then hello")], stream)
    assert answer.text == "You said: think, then hello"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["total_tokens"] == 18
    kinds = [block["type"] for block in answer.content_blocks]
    assert kinds == ["reasoning", "text"]


@pytest.mark.parametrize("stream", [False, True])
async def test_langchain_makes_a_round_trip_with_tools(translating: Program, stream: bool) -> None:
    """Parallel calls stay two calls, with their arguments; then their results."""
    chat = a_chat(translating).bind_tools([lc_weather, lc_time])
    messages: list[Any] = [HumanMessage("think of the weather")]
    answer = await said_by(chat, messages, stream)
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [
        ("get_weather", {"city": "Ulm"}),
        ("get_time", {"city": "Ulm"}),
    ]
    messages.append(answer)
    results = {"get_weather": "sunny", "get_time": "noon"}
    messages += [ToolMessage(results[call["name"]], tool_call_id=call["id"]) for call in answer.tool_calls]
    assert (await said_by(chat, messages, stream)).text == "It is sunny and noon."


async def test_langchain_reads_a_structured_answer(translating: Program) -> None:
    """By JSON schema."""
    found = await a_chat(translating, "plain").with_structured_output(Event, method="json_schema").ainvoke("an event")
    assert found == Event(name="Ulm", days=3)


async def test_langchain_forces_a_call(translating: Program, model: ChatModel) -> None:
    """``tool_choice`` by name reaches the provider."""
    chat = a_chat(translating, "plain").bind_tools([lc_weather], tool_choice="get_weather")
    answer = await said_by(chat, [HumanMessage("hello")], False)
    assert [call["name"] for call in answer.tool_calls] == ["get_weather"]
    assert json.loads(json.dumps(model.asked[-1]["tool_choice"])) == {
        "type": "function",
        "function": {"name": "get_weather"},
    }
