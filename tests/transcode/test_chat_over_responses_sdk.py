"""The openai SDK, a real client, reads what providers of Responses said as if they had spoken chat."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from openai import pydantic_function_tool
from pydantic import BaseModel
from reverse_helpers import DONE, USAGE, Json, ended, event, filtered, function_call, message, sse


class Forecast(BaseModel):
    """What the model is asked for."""

    city: str


def client(raw: bytes) -> openai.OpenAI:
    """A client whose provider always answers ``raw``."""
    head = {"content-type": "text/event-stream"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=head, content=raw))
    # Newer SDKs name a fork of httpx in their types; they take a client of either.
    http: Any = httpx.Client(transport=transport)
    return openai.OpenAI(api_key="k", base_url="http://provider.invalid/v1", http_client=http, max_retries=0)


def text(*deltas: str) -> list[Json]:
    return [event("output_text.delta", delta=delta, item_id="msg_1", output_index=0) for delta in deltas]


def test_the_helper_accumulates_a_stream() -> None:
    """``chat.completions.stream()``: text, a parsed call, the finish reason and usage."""
    arguments = '{"city":"Paris"}'
    events = [
        *text("Hel", "lo"),
        event("output_item.added", output_index=1, item=function_call("c", "Forecast", "")),
        event("function_call_arguments.delta", item_id="fc_1", output_index=1, delta=arguments[:5]),
        event("function_call_arguments.delta", item_id="fc_1", output_index=1, delta=arguments[5:]),
        ended(output=[message("Hello"), function_call("c", "Forecast", arguments)], usage=USAGE),
    ]
    raw = filtered([sse(events)])
    tools = [pydantic_function_tool(Forecast)]
    with client(raw).chat.completions.stream(
        model="m", messages=[{"role": "user", "content": "x"}], tools=tools, stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    choice = final.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Hello", "tool_calls")
    assert choice.message.tool_calls is not None
    assert choice.message.tool_calls[0].function.parsed_arguments == Forecast(city="Paris")
    assert final.usage is not None
    assert final.usage.total_tokens == 18


def test_a_failure_in_the_stream_is_an_exception_of_the_sdk() -> None:
    """And so no half answer is taken for a whole one."""
    raw = filtered([sse([*text("Hel"), ended("failed", error={"code": "server_error", "message": "x"})])])
    with pytest.raises(openai.APIError, match="could not answer"):
        for _ in client(raw).chat.completions.create(
            model="m", messages=[{"role": "user", "content": "x"}], stream=True
        ):
            pass


def test_plain_iteration_ends_at_the_end_mark() -> None:
    raw = filtered([sse([*text("Hel", "lo"), ended()])])
    assert raw.endswith(DONE)
    chunks = client(raw).chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
