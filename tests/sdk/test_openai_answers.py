"""The OpenAI SDK against the running program: what works without the SDK's user changing more than the base URL."""

from __future__ import annotations

import asyncio
import io

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from support.program import Program

SAID: list[ChatCompletionMessageParam] = [{"role": "user", "content": "one two three"}]


@pytest.fixture
def aclient(program: Program) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=program.url + "/v1", api_key="sk-right", max_retries=0, timeout=10)


def test_chat_whole(client: OpenAI) -> None:
    """One completion, with usage."""
    completion = client.chat.completions.create(model="echo", messages=SAID)
    assert completion.choices[0].message.content == "one two three"
    assert completion.model == "echo"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 3


def test_chat_streamed(client: OpenAI) -> None:
    """Chunk by chunk, to the usage at the end."""
    chunks = list(
        client.chat.completions.create(
            model="org/slow-echo", messages=SAID, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "one two three"
    assert chunks[-1].usage is not None


def test_chat_stream_helper(client: OpenAI) -> None:
    """The SDK's accumulating helper sees a stream that it can put together."""
    with client.chat.completions.stream(model="echo", messages=SAID) as stream:
        stream.until_done()
        assert stream.get_final_completion().choices[0].message.content == "one two three"


async def test_chat_async(aclient: AsyncOpenAI) -> None:
    """Twenty at a time, whole and streamed mixed."""

    async def whole() -> str | None:
        return (await aclient.chat.completions.create(model="echo", messages=SAID)).choices[0].message.content

    async def streamed() -> str | None:
        stream = await aclient.chat.completions.create(model="echo", messages=SAID, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    async with aclient:
        answers = await asyncio.gather(*(whole() for _ in range(10)), *(streamed() for _ in range(10)))
    assert set(answers) == {"one two three"}


def test_legacy_completions(client: OpenAI) -> None:
    """The old completions endpoint."""
    assert client.completions.create(model="echo", prompt="old times").choices[0].text == "old times"


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings(client: OpenAI, encoding: str) -> None:
    """Both encodings; the SDK asks for base64 by default."""
    made = client.embeddings.create(model="echo", input=["a", "b"], encoding_format=encoding)  # type: ignore[arg-type]
    assert [item.index for item in made.data] == [0, 1]
    assert len(made.data[0].embedding) > 0


def test_files_are_uploaded_as_multipart(client: OpenAI) -> None:
    """A form names its model in a part; the SDK's files API names none, so a header does."""
    made = client.files.create(
        file=("notes.txt", io.BytesIO(b"x" * 100_000)), purpose="user_data", extra_headers={"Model-Override": "echo"}
    )
    assert made.object == "file"
    assert made.bytes > 100_000


def test_a_transcription_names_its_model_in_the_form(client: OpenAI) -> None:
    """multipart/form-data with the ``model`` part beside a file."""
    made = client.audio.transcriptions.create(model="echo", file=("a.wav", io.BytesIO(b"\0" * 5000)))
    assert made.text


def test_responses_whole(client: OpenAI) -> None:
    """The Responses API, natively."""
    response = client.responses.create(model="echo", input="one two three")
    assert response.output_text == "one two three"
    assert response.status == "completed"


def test_responses_streamed(client: OpenAI) -> None:
    """Events in order, ended by ``response.completed``."""
    events = list(client.responses.create(model="echo", input="one two three", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == "one two three"


async def test_responses_async_stream_helper(aclient: AsyncOpenAI) -> None:
    """The SDK's helper accepts every event."""
    async with aclient, aclient.responses.stream(model="echo", input="one two three") as stream:
        assert (await stream.get_final_response()).output_text == "one two three"


def test_models_are_listed(client: OpenAI, program: Program) -> None:
    """All targets that the key may use, and no others."""
    names = [model.id for model in client.models.list()]
    assert "org/slow-echo" in names
    assert "closed" in names
    stranger = OpenAI(base_url=program.url + "/v1", api_key="sk-wrong", max_retries=0)
    assert "closed" not in [model.id for model in stranger.models.list()]


@pytest.mark.parametrize("name", ["echo", "org/slow-echo"])
def test_a_model_is_retrieved(client: OpenAI, name: str) -> None:
    """Ids may hold a slash, which the SDK encodes."""
    assert client.models.retrieve(name).id == name


def test_a_model_that_is_not_there(client: OpenAI) -> None:
    """404 as at OpenAI."""
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nobody")
    assert caught.value.code == "model_not_found"


def test_raw_bytes_are_the_upstreams(client: OpenAI) -> None:
    """with_raw_response and streaming responses work; nothing is decompressed or renamed."""
    raw = client.chat.completions.with_raw_response.create(model="echo", messages=SAID)
    assert raw.headers["content-type"] == "application/json"
    assert raw.parse().choices[0].message.content == "one two three"
