"""Real clients reading a stream from memory: the openai SDK's ``stream()`` helper, and openresponses-py, strictly."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import httpx
import openai
from openresponses import OpenResponses, ResponseResource, ResponseStream

from support.responses_oracle import events_of

T = TypeVar("T")
_BASE = "http://provider.invalid/v1"


def _answered(raw: bytes, read: Callable[[httpx.Client], T]) -> T:
    head = {"content-type": "text/event-stream; charset=utf-8"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=head, content=raw))
    with httpx.Client(transport=transport) as client:
        return read(client)


def openai_stream_text(raw: bytes) -> str:
    """The ``output_text`` that openai-python's ``responses.stream()`` helper ends with. Raises as the helper does."""

    def read(http: httpx.Client) -> str:
        # Newer SDKs name a fork of httpx in their types; they take a client of either.
        client = openai.OpenAI(api_key="k", base_url=_BASE, http_client=http, max_retries=0)  # type: ignore[arg-type]
        with client.responses.stream(model="m", input="x") as stream:
            if events_of(raw)[-1]["type"] != "response.completed":
                return "".join(event.delta for event in stream if event.type == "response.output_text.delta")
            return stream.get_final_response().output_text

    return _answered(raw, read)


def openresponses_final(raw: bytes) -> ResponseResource:
    """The final response as openresponses-py's strict client reads it. Raises SSEProtocolError."""

    def read(http: httpx.Client) -> ResponseResource:
        client = OpenResponses(api_key="k", base_url=_BASE, http_client=http)
        stream = client.responses.create({"model": "m", "input": "x", "stream": True})
        assert isinstance(stream, ResponseStream)
        with stream:
            for _ in stream:
                pass
            final = stream.final_response
            assert isinstance(final, ResponseResource)
            return final

    return _answered(raw, read)
