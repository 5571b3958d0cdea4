"""Images that a model makes: items of their own in one API, a list beside the text in the other."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from request_helpers import generic, translate, user
from reverse_helpers import DONE, Json, chunks, collected, ended, event, heard, message, sse, told
from stream_helpers import delta, events, items, kinds, machine, of_type, text
from support.responses_oracle import Allowance, check_resource
from support.responses_readers import openai_stream_text
from support.transcoding import answer_context, whole
from support.transcoding import translate as translate_stream

from onwards_py.messages import Ending
from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral.images import GeneratedImage, from_item, read_images
from onwards_py.transcode.neutral.policy import Policy
from onwards_py.transcode.pairs import to_responses

PNG = "iVBORw0KGgo="
URL = f"data:image/png;base64,{PNG}"
ALLOW = Allowance("openresponses", frozenset({"image_generation_call"}))


def image(url: str = URL, index: int = 0) -> Json:
    """As OpenRouter and LiteLLM have it."""
    return {"type": "image_url", "image_url": {"url": url}, "index": index}


def test_an_answer_that_is_an_image_is_an_item() -> None:
    """Added empty, completed, done with its bytes."""
    out = events([delta(images=[image()])], allow=ALLOW)
    assert [one["type"] for one in out[2:-1]] == [
        "response.output_item.added",
        "response.image_generation_call.in_progress",
        "response.image_generation_call.completed",
        "response.output_item.done",
    ]
    (item,) = items(out)
    assert (item["result"], item["status"], item["output_format"]) == (PNG, "completed", "png")
    assert of_type(out, "completed")


def test_openais_helper_reads_a_stream_with_an_image() -> None:
    """Text and image in one answer."""
    raw = b"".join(
        b"data: %b\n\n" % orjson.dumps(one) for one in (text("Here:"), delta(images=[image()]), delta("stop"))
    )
    assert openai_stream_text(translate_stream(raw + DONE, answer_context(), Ending.DONE)) == "Here:"


def test_images_stand_where_they_came_and_once() -> None:
    """There are gateways that say all of them again in the last chunk."""
    other = image("data:image/jpg;base64,AAAA", 1)
    chunks_ = [text("Here:"), delta(images=[image()]), text("and"), delta(images=[image(), other])]
    out = events(chunks_, allow=ALLOW)
    assert kinds(out) == ["message", "image_generation_call", "message", "image_generation_call"]
    assert items(out)[-1]["output_format"] == "jpeg"


@pytest.mark.parametrize(
    "said",
    [
        {"content": None, "images": [image()]},
        {"content": "", "images": [URL]},
        {"content": [image()]},
        {"images": [{"b64_json": PNG}]},
    ],
)
def test_a_whole_answer_that_has_only_an_image_is_no_failure(said: Json) -> None:
    """Whatever the form."""
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", **said}, "finish_reason": "stop"}]}
    made: Any = whole(answer, answer_context())  # type: ignore[arg-type]
    assert check_resource(made, ALLOW) == []
    assert [(item["type"], item["result"]) for item in made["output"]] == [("image_generation_call", PNG)]


def test_an_image_that_is_elsewhere_is_named_in_the_text() -> None:
    """Nothing is fetched here."""
    out = events([delta(images=[image("https://h/i.png")])])
    assert items(out)[0]["content"][0]["text"] == "![image](https://h/i.png)"  # type: ignore[index]


@pytest.mark.parametrize(
    "value", [None, 1, "", [], [1, None, {}, {"image_url": 1}, {"image_url": {}}, {"url": ""}], {}]
)
def test_what_is_no_image_is_none(value: object) -> None:
    assert list(read_images(value)) in ([], [GeneratedImage("", url="")])
    assert kinds(events([text("x"), delta(images=value)])) == ["message"]


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("data:image/svg+xml,%3Csvg/%3E", GeneratedImage("PHN2Zy8+", "svg")),
        ("data:image/svg+xml;charset=utf-8;base64,AA==", GeneratedImage("AA==", "svg")),
        ("data:;base64,AA==", GeneratedImage("AA==")),
        ("data:application/octet-stream;base64,AA==", GeneratedImage("AA==")),
    ],
)
def test_data_urls(url: str, found: GeneratedImage) -> None:
    """With parameters, without base64, of a type that nobody names."""
    assert list(read_images([url])) == [found]


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ({"result": PNG, "output_format": "JPG"}, f"data:image/jpeg;base64,{PNG}"),
        ({"result": "data:image/webp;base64,AA=="}, "data:image/webp;base64,AA=="),
        ({"result": PNG, "output_format": 1}, URL),
    ],
)
def test_the_image_of_an_item_as_a_url(said: Json, url: str) -> None:
    """Of which gateways make more forms than the API has."""
    image_ = from_item({"type": "image_generation_call", **said})
    assert image_ is not None
    assert image_.data_url == url


def test_an_image_of_the_history_is_shown_to_the_model_again() -> None:
    """The output of one turn is the input of the next, for providers with eyes and for others."""
    item = items(events([delta(images=[image()])], allow=ALLOW))[0]
    made: Any = translate([user("draw"), item, user("bluer")])
    assert made.body["messages"][0]["content"][2] == {"type": "image_url", "image_url": {"url": URL}}
    blind: Any = translate([user("draw"), item, user("bluer")], quirks=generic(images=False))
    assert [one["role"] for one in blind.body["messages"]] == ["user", "assistant", "user"]
    assert blind.dropped == ("input[].result",)


@pytest.mark.parametrize("owner", ["delta", "message"])
@pytest.mark.parametrize("preset", ["generic", "gemini"])
@pytest.mark.parametrize("words", ["Hi.", ""])
def test_sound_is_named_as_dropped_and_its_words_are_the_text(owner: str, preset: str, words: str) -> None:
    """No item holds it; an answer that is nothing but sound is no failure."""
    core = machine(answer_context(preset))
    core.feed({"choices": [{"index": 0, owner: {"audio": {"id": "a", "data": "AA==", "transcript": words}}}]})
    core.feed(delta("stop"))
    core.finish(Ending.DONE, done=True)
    assert (core.failure, core.dropped) == (None, (f"choices[].{owner}.audio.data",))
    final: Any = core.answer()
    assert final["output"][0]["content"][0]["text"] == words


# The other way

CALL: Json = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": PNG}


def test_the_other_way_an_image_item_is_an_image() -> None:
    """Streamed, whole, or only told in the end: once."""
    added = event("output_item.added", output_index=0, item={**CALL, "status": "in_progress", "result": None})
    done = event("output_item.done", output_index=0, item=CALL)
    for stream in ([added, done, ended(output=[CALL])], [ended(output=[CALL])], [added, ended(output=[CALL])]):
        made = chunks(stream)
        shown = [one for chunk in made for choice in chunk["choices"] for one in choice["delta"].get("images", [])]
        assert shown == [image()]
        assert heard(made)["finish"] == "stop"
    whole_: Any = collected([sse([ended(output=[message("Here:"), {**CALL, "output_format": "webp"}])])])
    said = orjson.loads(whole_.body)["choices"][0]["message"]
    assert (said["content"], said["images"]) == ("Here:", [image(f"data:image/webp;base64,{PNG}")])
    assert told({"choices": [{"message": said, "finish_reason": "stop"}]})["content"] == "Here:"


def test_the_other_way_an_image_of_the_history_is_shown_again() -> None:
    """As in this one."""
    request: Json = {
        "model": "m",
        "messages": [user("draw"), {"role": "assistant", "content": "Here:", "images": [image()]}, user("bluer")],
    }
    made: Any = to_responses(request, PRESETS["generic"], Policy()).body["input"]
    assert [one["role"] for one in made] == ["user", "assistant", "user", "user"]
    assert made[2]["content"][1] == {"type": "input_image", "image_url": URL}
    blind = to_responses(request, generic(images=False), Policy())
    assert blind.dropped == ("messages[].images",)
