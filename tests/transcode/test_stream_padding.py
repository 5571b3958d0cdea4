"""``stream_options.include_obfuscation``: sizes of events do not tell what was said."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from stream_helpers import PLAIN, call, delta, events, final, of_type, text, thought
from support.responses_promises import Json, as_dict, as_list

PADDED = replace(PLAIN, obfuscation=True)
CHUNKS = [thought("a"), text("b"), delta(refusal="no"), call(0, "c", "get_time", "{}")]


def sizes(*said: str) -> list[int]:
    """How many bytes of JSON the deltas of these pieces take, without their numbers."""
    out = of_type(events([text(piece) for piece in said], context=PADDED), "output_text.delta")
    return [len(orjson.dumps({**event, "sequence_number": 0})) for event in out]


def test_every_delta_is_padded_and_nothing_else() -> None:
    """Of whatever kind it is."""
    out = events(CHUNKS, context=PADDED)
    padded = [str(event["type"]) for event in out if "obfuscation" in event]
    assert padded == [str(event["type"]) for event in out if str(event["type"]).endswith(".delta")]
    assert {name.removeprefix("response.") for name in padded} == {
        "reasoning_summary_text.delta",
        "output_text.delta",
        "refusal.delta",
        "function_call_arguments.delta",
    }


def test_without_being_asked_for_there_is_none() -> None:
    """OpenAI pads unless it is told not to; here it would be a tenth of the bytes of every stream."""
    assert not any("obfuscation" in event for event in events(CHUNKS))


def test_padding_changes_nothing_that_is_said() -> None:
    """The same answer, but for ids."""

    def said(response: Json) -> list[Json]:
        ids = {"id": "", "call_id": ""}
        return [{**as_dict(item), **ids} for item in as_list(response["output"])]

    assert said(final(events(CHUNKS, context=PADDED))) == said(final(events(CHUNKS)))


def test_tokens_are_of_one_size() -> None:
    """From nothing but a letter to 16 bytes of JSON, escapes and other scripts included."""
    assert len(set(sizes("a", "understanding", "\n\n\t", "\u00e4\u00f6\u00fc", '"quoted"', "x" * 16))) == 1


@pytest.mark.parametrize(
    ("length", "padded"), [(16, 16), (17, 32), (64, 64), (65, 128), (256, 256), (257, 512), (1025, 1280)]
)
def test_longer_pieces_are_of_few_sizes(length: int, padded: int) -> None:
    """Powers of two, then multiples of 256."""
    one, other = sizes("x", "x" * length)
    assert other - one == padded - 16


def test_log_probabilities_count_too() -> None:
    """They repeat the token."""
    logprobs = {"content": [{"token": "b", "logprob": -0.1, "bytes": [98], "top_logprobs": []}]}
    chunk = text("b")
    chunk["choices"] = [{**as_dict(as_list(chunk["choices"])[0]), "logprobs": logprobs}]
    context = replace(PADDED, include=frozenset({"message.output_text.logprobs"}))
    (event,) = of_type(events([chunk], context=context), "output_text.delta")
    said = len(orjson.dumps(event["delta"])) - 2 + len(orjson.dumps(event["logprobs"]))
    assert said + len(str(event["obfuscation"])) in (64, 128)


def test_no_padding_is_like_another() -> None:
    """It could be guessed, or compressed."""
    out = of_type(events([text("a"), text("b")], context=PADDED), "output_text.delta")
    assert len({str(event["obfuscation"]) for event in out}) == 2
