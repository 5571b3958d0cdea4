"""The echo engine: the response shapes that clients of each API read, and the requests that it refuses."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import pytest
from echo_helpers import CHAT, NOW, RESPONSES, ask, ask_whole, chat_request, documents, request
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion, CreateEmbeddingResponse, FileObject, Model
from openai.types.audio import Transcription
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from support.examples import examples

from onwards_py.model.provider import EchoSettings

COMPLETIONS = b"/v1/completions"
EMBEDDINGS = b"/v1/embeddings"


def test_chat_echoes_the_last_user_message() -> None:
    """The text parts of the last user message are joined. The model name is the requested one."""
    conversation = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": "Grüße,  "}, {"type": "image_url"}]},
        {"role": "assistant", "content": "said before"},
    ]
    conversation[2]["content"].append({"type": "text", "text": "Welt\n"})  # type: ignore[index]
    document = ask_whole(request(CHAT, {"messages": conversation}, model="org/m"))
    chat = ChatCompletion.model_validate(document)
    assert (chat.id, chat.model, chat.created) == ("chatcmpl-echo-1", "org/m", int(NOW))
    assert chat.choices[0].message.content == "Grüße,  Welt\n"
    assert chat.choices[0].finish_reason == "stop"


def test_chat_counts_words_as_tokens() -> None:
    """The prompt has the words of all messages, the completion those of all choices, and all details are present."""
    outbound = request(
        CHAT,
        {"n": 3, "messages": [{"role": "system", "content": "a b"}, {"role": "user", "content": "c d e"}]},
    )
    usage = ask_whole(outbound)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (5, 9, 14)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0


def test_configured_text_replaces_the_echo() -> None:
    """``text`` is the answer of every API that generates text, for every request."""
    fixed = EchoSettings(text="a fixed answer")
    assert ask_whole(chat_request("hi"), fixed)["choices"][0]["message"]["content"] == "a fixed answer"
    assert ask_whole(request(COMPLETIONS, {"prompt": "hi"}), fixed)["choices"][0]["text"] == "a fixed answer"
    assert ask_whole(request(RESPONSES, {"input": "hi"}), fixed)["output"][0]["content"][0]["text"] == "a fixed answer"
    assert ask_whole(request(b"/v1/audio/translations", b"--form"), fixed) == {"text": "a fixed answer"}


@pytest.mark.parametrize(
    ("limits", "text", "reason"),
    [
        ({"max_tokens": 2}, "one two ", "length"),
        ({"max_completion_tokens": 1, "max_tokens": 2}, "one ", "length"),
        ({"max_tokens": 3}, "one two three", "stop"),
        ({"max_tokens": None}, "one two three", "stop"),
    ],
)
def test_chat_honours_its_token_limits(limits: dict[str, object], text: str, reason: str) -> None:
    """Words above the limit are left out, and the reason is ``length``. The newer name of the limit takes
    precedence."""
    choice = ask_whole(chat_request("one two three", **limits))["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, reason)


def test_chat_stream_is_role_words_finish_done() -> None:
    """The role comes first, then each word with its white space, then the reason, then [DONE]."""
    _, events = ask(chat_request(" one  two\nthree", stream=True, max_tokens=3))
    assert events[-1] == b"data: [DONE]\n\n"
    chunks = [ChatCompletionChunk.model_validate(document) for document in documents(events)]
    assert {(chunk.id, chunk.model, chunk.created) for chunk in chunks} == {("chatcmpl-echo-1", "demo", int(NOW))}
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant"] + [None] * 4
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", " ", "one  ", "two\n", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 4 + ["length"]
    assert all(chunk.usage is None for chunk in chunks)


def test_chat_stream_ends_with_usage_if_asked() -> None:
    """With ``include_usage`` every chunk has the member. It is null except in the last chunk, which has no choices."""
    _, events = ask(chat_request("one two", stream=True, stream_options={"include_usage": True}))
    found = documents(events)
    assert [document["usage"] for document in found[:-1]] == [None] * 4
    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["completion_tokens"] == 2
    _, events = ask(chat_request("one two", stream=True, stream_options={"include_usage": False}))
    assert all("usage" not in document for document in documents(events))


def test_chat_choices_are_streamed_in_turn() -> None:
    """With ``n``, each choice has its role, its words and its reason under its own index."""
    _, events = ask(chat_request("one two", stream=True, n=2))
    choices = [document["choices"][0] for document in documents(events)]
    assert [choice["index"] for choice in choices] == [0, 1] * 4
    for index in (0, 1):
        own = [choice for choice in choices if choice["index"] == index]
        assert "".join(choice["delta"].get("content", "") for choice in own) == "one two"
        assert own[-1]["finish_reason"] == "stop"


@pytest.mark.parametrize("text", ["", "   ", "\u2028 \x00 é 😀", '"\\quoted\\"', "x" * 70_000])
def test_words_joined_are_the_text(text: str) -> None:
    """The streamed words together equal the text of the complete answer."""
    _, events = ask(chat_request(text, stream=True))
    streamed = "".join(document["choices"][0]["delta"].get("content", "") for document in documents(events))
    assert streamed == ask_whole(chat_request(text))["choices"][0]["message"]["content"] == text


def test_a_chat_without_user_text_gets_an_empty_answer() -> None:
    """A chat without a user message, or with an empty one, is not an error."""
    for conversation in ([{"role": "system", "content": "x"}], [{"role": "user", "content": None}]):
        document = ask_whole(request(CHAT, {"messages": conversation}))
        assert document["choices"][0]["message"]["content"] == ""


@pytest.mark.parametrize(
    ("prompt", "texts", "tokens"),
    [
        ("one two", ["one two"], 2),
        (["one", "two three"], ["one", "two three"], 3),
        ([7, 8], ["7 8"], 2),
        ([[7, 8], [9]], ["7 8", "9"], 3),
    ],
)
def test_completions_echo_each_prompt(prompt: object, texts: list[str], tokens: int) -> None:
    """There is one choice for each prompt. Token numbers become decimal text."""
    completion = Completion.model_validate(ask_whole(request(COMPLETIONS, {"prompt": prompt})))
    assert [choice.text for choice in completion.choices] == texts
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (tokens, tokens)


def test_completions_stream_words_then_reasons() -> None:
    """The words of both prompts come in turn, then a reason for each, usage, and [DONE]."""
    body = {"prompt": ["one two", "three"], "stream": True, "max_tokens": 1, "stream_options": {"include_usage": True}}
    _, events = ask(request(COMPLETIONS, body))
    assert events[-1] == b"data: [DONE]\n\n"
    chunks = documents(events)
    told = [(each["index"], each["text"], each["finish_reason"]) for chunk in chunks for each in chunk["choices"]]
    assert told == [(0, "one ", None), (1, "three", None), (0, "", "length"), (1, "", "stop")]
    assert Completion.model_validate(chunks[-1]).choices == []
    assert chunks[-1]["usage"]["total_tokens"] == 3 + 2


def test_embeddings_are_unit_vectors_of_the_text() -> None:
    """Equal texts have equal vectors and different texts different ones. Each vector has length one and its own
    index."""
    document = ask_whole(request(EMBEDDINGS, {"input": ["a b", "c", "a b"]}))
    answer = CreateEmbeddingResponse.model_validate(document)
    vectors = [each.embedding for each in answer.data]
    assert [each.index for each in answer.data] == [0, 1, 2]
    assert vectors[0] == vectors[2] != vectors[1]
    assert [len(vector) for vector in vectors] == [256] * 3
    assert all(math.isclose(math.hypot(*vector), 1.0, rel_tol=1e-6) for vector in vectors)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (5, 5)


def test_embeddings_in_base64_are_the_same_numbers() -> None:
    """``encoding_format: base64`` packs the same vector as little-endian 32-bit floats."""
    body = {"input": "text", "dimensions": 5}
    plain = ask_whole(request(EMBEDDINGS, body))["data"][0]["embedding"]
    packed = ask_whole(request(EMBEDDINGS, {**body, "encoding_format": "base64"}))["data"][0]["embedding"]
    assert struct.unpack("<5f", base64.b64decode(packed)) == tuple(struct.unpack("<5f", struct.pack("<5f", *plain)))


@pytest.mark.parametrize(("tokens", "count"), [([1, 2, 3], 1), ([[1, 2], [3]], 2)])
def test_embeddings_take_token_numbers(tokens: object, count: int) -> None:
    """An array of integers is one text, and an array of arrays several. Each number counts as a token."""
    document = ask_whole(request(EMBEDDINGS, {"input": tokens}))
    assert len(document["data"]) == count
    assert document["usage"]["total_tokens"] == 3


REFUSED: list[tuple[bytes, Any, str | None]] = [
    (CHAT, b"", None),
    (CHAT, b"\x28\xb5\x2f\xfd", None),
    (CHAT, b'{"messages":', None),
    (CHAT, [], None),
    (CHAT, {}, "messages"),
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": "hi"}, "messages"),
    (CHAT, {"messages": ["hi"]}, "messages"),
    (CHAT, {"messages": [{}], "n": 9}, "n"),
    (CHAT, {"messages": [{}], "n": 0}, "n"),
    (CHAT, {"messages": [{}], "n": True}, "n"),
    (CHAT, {"messages": [{}], "stream": "yes"}, "stream"),
    (CHAT, {"messages": [{}], "max_tokens": 0}, "max_tokens"),
    (CHAT, {"messages": [{}], "max_completion_tokens": 1.5}, "max_completion_tokens"),
    (COMPLETIONS, {}, "prompt"),
    (COMPLETIONS, {"prompt": []}, "prompt"),
    (COMPLETIONS, {"prompt": ["a", 1]}, "prompt"),
    (COMPLETIONS, {"prompt": [1, "a"]}, "prompt"),
    (COMPLETIONS, {"prompt": ["a"] * 65}, "prompt"),
    (EMBEDDINGS, {}, "input"),
    (EMBEDDINGS, {"input": {"text": "a"}}, "input"),
    (EMBEDDINGS, {"input": [[1, True]]}, "input"),
    (EMBEDDINGS, {"input": "a", "dimensions": 0}, "dimensions"),
    (EMBEDDINGS, {"input": "a", "encoding_format": "hex"}, "encoding_format"),
    (EMBEDDINGS, {"input": ["a"] * 2048, "dimensions": 4096}, "input"),
    (RESPONSES, {}, "input"),
    (RESPONSES, {"input": []}, "input"),
    (RESPONSES, {"input": 5}, "input"),
    (RESPONSES, {"input": "a", "max_output_tokens": 0}, "max_output_tokens"),
    (RESPONSES, {"input": "a", "temperature": "hot"}, "temperature"),
    (RESPONSES, {"input": "a", "instructions": ["x"]}, "instructions"),
    (RESPONSES, {"input": "a", "truncation": "some"}, "truncation"),
    (RESPONSES, {"input": "a", "service_tier": "turbo"}, "service_tier"),
    (RESPONSES, b'{"input":"a","metadata":{"a":' + b"[" * 500 + b"]" * 500 + b"}}", "metadata"),
]


@pytest.mark.parametrize(("target", "body", "param"), REFUSED)
def test_wrong_body_is_refused_by_name(target: bytes, body: object, param: str | None) -> None:
    """The response is 400 in the error envelope with the name of the wrong member."""
    status, pieces = ask(request(target, body), EchoSettings(first_token_delay=5.0))
    error = json.loads(b"".join(pieces))["error"]
    assert (status, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert set(error) == {"message", "type", "param", "code"}


MEMBERS = [
    *("messages", "input", "prompt", "model", "stream", "stream_options", "n", "max_tokens", "max_output_tokens"),
    *("tools", "tool_choice", "text", "reasoning", "metadata", "temperature", "dimensions", "instructions", "store"),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 40) | st.floats() | st.sampled_from(["", "user", "a b", "function"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "name", "format", "tools"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(
    target=st.sampled_from([CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES]),
    body=st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=8),
)
@examples(300)
def test_any_object_gets_an_answer(target: bytes, body: dict[str, object]) -> None:
    """For any members, the response is 200 or a refusal, and its body is complete."""
    status, pieces = ask(request(target, body))
    assert status in {200, 400}
    if pieces[0].startswith((b"data:", b"event:")):
        assert pieces[-1] == b"data: [DONE]\n\n"
        documents(pieces)
    else:
        json.loads(b"".join(pieces))


@pytest.mark.parametrize(
    "target", [b"/v1/chat/completions?api-version=1", b"/chat/completions", b"http://host:1/v1/chat/completions"]
)
def test_paths_are_known_in_every_form(target: bytes) -> None:
    """The query does not matter, ``/v1`` may be missing, and a target may be in absolute form."""
    status, _ = ask(request(target, {"messages": [{"role": "user", "content": "hi"}]}))
    assert status == 200


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        (b"POST", b"/v1/rerank", 404, "not_found"),
        (b"POST", b"/v1", 404, "not_found"),
        (b"POST", b"*", 404, "not_found"),
        (b"POST", b"/v1/chat/completions/", 404, "not_found"),
        (b"POST", b"/v2/chat/completions", 404, "not_found"),
        (b"GET", b"/v1/chat/completions", 405, "method_not_allowed"),
        (b"POST", b"/v1/models", 405, "method_not_allowed"),
    ],
)
def test_unknown_paths_and_methods_are_refused(method: bytes, target: bytes, status: int, code: str) -> None:
    """An unknown path is 404 and a wrong method 405, both in the error envelope."""
    answered, pieces = ask(request(target, b"--form", method))
    assert (answered, json.loads(b"".join(pieces))["error"]["code"]) == (status, code)


def test_models_are_listed() -> None:
    """The requested model is the only one, in the list and by its id."""
    document = ask_whole(request(b"/v1/models", b"", b"GET"))
    assert document["object"] == "list"
    assert [Model.model_validate(each).id for each in document["data"]] == ["demo"]
    assert Model.model_validate(ask_whole(request(b"/v1/models/org/m", b"", b"GET"))).id == "demo"


def test_forms_get_small_answers() -> None:
    """A file upload returns its size in bytes, a transcription a text."""
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\xff\x00\r\n--b--\r\n'
    receipt = FileObject.model_validate(ask_whole(request(b"/v1/files", form)))
    assert (receipt.bytes, receipt.status) == (len(form), "processed")
    assert Transcription.model_validate(ask_whole(request(b"/v1/audio/transcriptions", form))).text == "echo"
