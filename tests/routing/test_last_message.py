"""Which text of a request's body is what the user asks last."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onwards_py.routing.last_message import last_user_text

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def asked(body: object, limit: int = 1000) -> str | None:
    return last_user_text(orjson.dumps(body), limit)


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([user("hello")], "hello"),
        ([user("first"), {"role": "assistant", "content": "yes?"}, user("second")], "second"),
        ([user("call it"), {"role": "assistant", "content": None}, {"role": "tool", "content": "42"}], "call it"),
        ([user([{"type": "text", "text": "one"}, PICTURE, {"type": "text", "text": "two"}])], "one\ntwo"),
        ([user([{"type": "text", "text": None}, {"type": "text", "text": "two"}])], "two"),
        ([user("earlier"), user([PICTURE])], None),
        ([user("earlier"), user("")], None),
        ([user("earlier"), user(" \n")], None),
        ([user("earlier"), user(None)], None),
        ([user("earlier"), {"role": "user"}], None),
        ([user("earlier"), user({"text": "no list"})], None),
        ([user("real"), {"role": 5, "content": "odd"}, "odd", None, 7, ["odd"]], "real"),
        ([{"role": "system", "content": "be nice"}], None),
        ([], None),
    ],
)
def test_of_a_chat_it_is_the_last_message_of_the_user(messages: list[object], text: str | None) -> None:
    """Other roles and what is no message are passed over; a user's message without text hides the earlier ones."""
    assert asked({"model": "m", "messages": messages}) == text


@pytest.mark.parametrize(
    ("given_input", "text"),
    [
        ("hello", "hello"),
        ("", None),
        ([user("typeless")], "typeless"),
        ([{"type": "message", **user([{"type": "input_text", "text": "a"}, {"type": "input_image"}])}], "a"),
        ([user("q"), {"type": "function_call_output", "call_id": "1", "output": "x"}], "q"),
        ([user("q"), {"type": "other", **user("no message")}], "q"),
        ([{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}], None),
        ([user([{"type": "output_text", "text": "not said by a user"}])], None),
        (["a batch", "of embeddings"], None),
        (5, None),
        ([], None),
    ],
)
def test_of_responses_it_is_the_input_or_its_last_user_item(given_input: object, text: str | None) -> None:
    """Open Responses: ``input`` is a string or items; an item without a type is a message."""
    assert asked({"model": "m", "input": given_input}) == text


@pytest.mark.parametrize(
    ("prompt", "text"),
    [("once", "once"), (["once", "twice"], "twice"), ([], None), ([1, 2], None), ([[1], [2]], None), (None, None)],
)
def test_of_completions_it_is_the_prompt(prompt: object, text: str | None) -> None:
    """A prompt in tokens has no text."""
    assert asked({"model": "m", "prompt": prompt}) == text


@pytest.mark.parametrize("body", [{}, {"model": "m"}, {"messages": "x"}, [], "x", 5, None])
def test_of_anything_else_there_is_none(body: object) -> None:
    """A body of another dialect, or of none."""
    assert asked(body) is None


@pytest.mark.parametrize("limit", range(13))
def test_a_long_text_keeps_its_beginning_and_its_end(limit: int) -> None:
    """Exactly ``limit`` characters remain, half of them from each side, the odd one from the end."""
    text = asked({"prompt": "0123456789ab"}, limit)
    assert text is not None
    assert len(text) == limit
    assert text == ("0123456789ab"[: limit // 2] + "0123456789ab"[12 - (limit - limit // 2) :])


def test_escapes_are_read_as_json_reads_them() -> None:
    """Keys and values may be spelt with escapes; characters are counted, not bytes."""
    body = rb'{"m\u0065ssages":[{"rol\u0065":"us\u0065r","content":"gr\u00fc\u00df \ud83d\ude00\n"}]}'
    assert last_user_text(body, 100) == "grüß 😀\n"
    assert last_user_text(body, 2) == "g\n"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["user", "message", "text"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["messages", "input", "prompt", "role", "type", "content", "text", "x"]), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@given(anything | st.dictionaries(st.sampled_from(["messages", "input", "prompt"]), anything), st.integers(0, 40))
def test_any_json_gives_a_short_text_or_none(body: object, limit: int) -> None:
    """Whatever stands where."""
    text = last_user_text(json.dumps(body).encode(), limit)
    assert text is None or len(text) <= limit


@given(st.binary(max_size=200))
@example(b'{"prompt":"\xff"}')
@example(b'{"prompt":"\\ud800"}')
@example(b'{"messages":[{"role":"user","content":"\xff"}]}')
@example(b'{"messages":[{"role":"\xff","content":"a"}]}')
@example(b'{"messages":[{"role":"user","content":[{"type":"text","text":"\\udc00"}]}]}')
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 100_000)
@example(b'{"messages":[{"role":"user","content":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}")
def test_any_bytes_give_a_text_or_none(body: bytes) -> None:
    """Broken JSON, broken UTF-8, halves of surrogate pairs, depth: none of it raises."""
    assert isinstance(last_user_text(body, 10), str | None)
