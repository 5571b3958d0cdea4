"""Content parts reach the provider, or are refused or noted with their path."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from request_helpers import DROP, OPENAI, call, generic, image, messages, output, refusal, text, translate, user

from onwards_py.transcode.neutral.policy import Policy
from onwards_py.transcode.neutral.quirks import Quirks


def sent(*parts: object, quirks: Quirks | None = None) -> Any:
    return messages([{"role": "user", "content": list(parts)}], quirks=quirks or generic())[0]["content"]


def file(kind: str, body: bytes, name: str | None = "a.txt") -> dict[str, object]:
    data = f"data:{kind};base64,{base64.b64encode(body).decode()}"
    return {"type": "input_file", "file_data": data, **({"filename": name} if name else {})}


def test_D9_text_and_images_keep_their_order() -> None:
    """A mixed message loses neither."""
    parts = sent(text("a"), image("http://x/1.png", detail="low"), text("b"), image("http://x/2.png"))
    assert parts == [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "http://x/1.png", "detail": "low"}},
        {"type": "text", "text": "b"},
        {"type": "image_url", "image_url": {"url": "http://x/2.png"}},
    ]


@pytest.mark.parametrize("kind", ["input_text", "output_text", "text"])
def test_a_lone_text_part_is_a_plain_string(kind: str) -> None:
    """Many servers refuse arrays."""
    assert sent({"type": kind, "text": "x", "annotations": [], "logprobs": []}) == "x"
    assert sent({"type": kind, "text": "x"}, quirks=OPENAI) == "x"


def test_parts_as_chat_completions_has_them_are_understood() -> None:
    """Clients mix the dialects."""
    chat_image = {"type": "image_url", "image_url": {"url": "http://x", "detail": "high"}}
    assert sent({"type": "text", "text": "a"}, chat_image) == [{"type": "text", "text": "a"}, chat_image]


@pytest.mark.parametrize(
    "part", [image(detail="original"), {"type": "image_url", "image_url": {"url": "http://x", "detail": "original"}}]
)
def test_a_detail_that_chat_does_not_have_becomes_the_next_best(part: dict[str, object]) -> None:
    """``original`` is a word of Responses alone; also in a tool's output."""
    assert sent(part, text("x"))[0]["image_url"]["detail"] == "high"
    found = messages([call("c"), output("c", [part])])
    assert found[-1]["content"][-1]["image_url"]["detail"] == "high"


def test_cache_marks_on_text_stay() -> None:
    """Anthropic's and OpenRouter's prompt caching is marked on parts: such a part is not melted into a string."""
    marked = {"type": "input_text", "text": "x", "cache_control": {"type": "ephemeral"}}
    assert sent(marked) == [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]


def test_a_file_goes_to_who_takes_files() -> None:
    """With its name and data, or its id."""
    given = file("application/pdf", b"%PDF")
    expected = {"type": "file", "file": {"filename": "a.txt", "file_data": given["file_data"]}}
    assert sent(given, quirks=OPENAI) == [expected]
    assert sent({"type": "input_file", "file_id": "file-1"}, quirks=OPENAI) == [
        {"type": "file", "file": {"file_id": "file-1"}}
    ]


def test_a_text_file_is_read_out_to_who_takes_no_files() -> None:
    """Its text is what the model would have seen of it."""
    assert sent(file("text/plain", "é".encode())) == "a.txt:\né"
    assert sent(file("application/json", b"{}", None)) == "{}"


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_image", "file_id": "file-1"}, ".file_id"),
        ({"type": "input_file", "file_id": "file-1"}, ".file_id"),
        ({"type": "input_file", "file_url": "http://x"}, ".file_url"),
        (file("application/pdf", b"%PDF"), ""),
        (file("text/plain", b"\xff"), ""),
        ({"type": "input_file", "file_data": "data:text/plain;base64,!", "filename": "x"}, ""),
        ({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, ""),
        ({"type": "input_video", "video_url": "http://x"}, ""),
        ({"type": "hologram"}, ".type"),
        ({}, ".type"),
    ],
)
def test_what_the_provider_has_no_words_for_is_refused_or_dropped_visibly(part: dict[str, object], param: str) -> None:
    """The refusal names the part; a drop is noted."""
    items = [{"role": "user", "content": [text("x"), part]}]
    refused = refusal(items)
    assert (refused.param, refused.code) == (f"input[0].content[1]{param}", "unsupported_value")
    made = translate(items, policy=DROP)
    assert made.body["messages"] == [user("x")]
    assert made.dropped == (f"input[].content[]{param}",)


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_text"}, ".text"),
        ({"type": "input_text", "text": 1}, ".text"),
        ({"type": "input_image"}, ".image_url"),
        ({"type": "input_image", "image_url": 1}, ".image_url"),
        ({"type": "input_file"}, ""),
        ({"type": "input_audio"}, ".input_audio"),
        ({"type": "input_video"}, ".video_url"),
        (1, ""),
        (None, ""),
    ],
)
def test_a_broken_part_is_refused_whatever_the_policy(part: object, param: str) -> None:
    """Nobody can say what was meant."""
    refused = refusal([{"role": "user", "content": [part]}], policy=DROP)
    assert refused.param == f"input[0].content[0]{param}"


def test_sound_and_video_go_to_who_takes_them() -> None:
    """In chat completions' (and vLLM's) words."""
    quirks = generic(audio=True, video=True)
    audio = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
    assert sent(audio, {"type": "input_video", "video_url": "http://x"}, quirks=quirks) == [
        audio,
        {"type": "video_url", "video_url": {"url": "http://x"}},
    ]


def test_an_inline_part_has_a_limit() -> None:
    """Characters, by policy; the limit itself passes."""
    items = [{"role": "user", "content": [image("data:xxxxx")]}]
    assert translate(items, policy=Policy(max_part=10)).body["messages"]
    assert refusal(items, policy=Policy(max_part=9)).param == "input[0].content[0].image_url"


def test_images_are_refused_for_a_model_without_eyes() -> None:
    """A quirk of the provider."""
    assert (
        refusal([{"role": "user", "content": [image()]}], quirks=generic(images=False)).param == "input[0].content[0]"
    )


@pytest.mark.parametrize("content", [1, True, {"text": "x"}])
def test_content_of_another_type_is_refused(content: object) -> None:
    """With its path."""
    assert refusal([{"role": "user", "content": content}]).param == "input[0].content"
