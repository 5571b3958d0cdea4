"""Characters of several tokens, of which llama.cpp tells the last one only: role and log probabilities all the same.

Chunks as llama.cpp b11549 sends them for an answer that a grammar makes an emoji of three tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onwards_py.engines.chunk_assembler import ChunkAssembler
from onwards_py.engines.llama_chunks import ChunkRewriter

UNTOLD = {"token": "", "bytes": [], "logprob": -9999.0, "top_logprobs": []}


def progress(delta: Mapping[str, object]) -> dict[str, object]:
    """What comes while the prompt is read; its delta has a role, and is not for clients."""
    choice = {"finish_reason": None, "index": 0, "delta": delta}
    return {"choices": [choice], "prompt_progress": {"total": 31}, "timings": {"prompt_n": 1, "predicted_n": 0}}


def token(text: str, **more: object) -> dict[str, object]:
    return {"token": text, "bytes": list(text.encode()), "logprob": -2.5, "top_logprobs": [], **more}


def said(text: str, made: int, *tokens: dict[str, object]) -> dict[str, object]:
    """A chunk of text, sent when so many tokens had been ``made``."""
    choice = {"finish_reason": None, "index": 0, "delta": {"content": text}, "logprobs": {"content": list(tokens)}}
    return {"id": "c", "choices": [choice], "timings": {"prompt_n": 1, "predicted_n": made}}


def end(reason: str, made: int) -> list[dict[str, object]]:
    """The last chunk of a chat, and the one with usage."""
    choice = {"finish_reason": reason, "index": 0, "delta": {}}
    return [{"choices": [choice]}, {"choices": [], "usage": {"completion_tokens": made, "prompt_tokens": 31}}]


def retold(*chunks: dict[str, object], top: int | None = 0, legacy: bool = False) -> list[Any]:
    """What the client gets of a run."""
    telling = ChunkRewriter("mine", top, legacy)
    telling.run(0, same_prompt=False)
    told = [telling.chunk(chunk) for chunk in chunks]
    return [chunk["choices"][0] for chunk in [*told, telling.rest()] if chunk is not None]  # type: ignore[index]


ROLE = {"role": "assistant", "content": None}


def test_the_first_chunk_has_the_role_whatever_its_first_character_takes() -> None:
    """Once, in front of the text; a chunk of its own where llama.cpp makes one."""
    first, second, _ = retold(progress(ROLE), said("😀", 3, token("😀")), said("a", 4, token("a")), *end("stop", 5))
    assert first["delta"] == {"role": "assistant", "content": "😀"}
    assert second["delta"] == {"content": "a"}
    role = {"choices": [{"finish_reason": None, "index": 0, "delta": ROLE}]}
    first, second, _ = retold(progress(ROLE), role, said("a", 1, token("a")), *end("stop", 2))  # type: ignore[arg-type]
    assert (first["delta"], second["delta"]) == (ROLE, {"content": "a"})


def test_an_answer_that_ends_within_its_first_character_has_a_role() -> None:
    """There is nothing else in it."""
    (only,) = retold(progress(ROLE), *end("length", 2), top=None)
    assert (only["delta"], only["finish_reason"]) == ({"role": "assistant"}, "length")
    assert "logprobs" not in only


def test_every_run_of_a_request_has_a_role_of_its_own() -> None:
    """Each choice is a message."""
    telling = ChunkRewriter("mine", None, legacy=False)
    roles = []
    for index in range(2):
        telling.run(index, same_prompt=index > 0)
        chunk: Any = telling.chunk(said("😀", 3))
        roles.append((chunk["choices"][0]["index"], chunk["choices"][0]["delta"]["role"]))
    assert roles == [(0, "assistant"), (1, "assistant")]


def test_every_token_has_an_entry_and_the_last_of_a_character_has_its_text() -> None:
    """Those that llama.cpp says nothing of are told in OpenAI's word for an unknown log probability."""
    first, second, third, last = retold(
        said("😀", 3, token("😀")), said("é", 5, token("é")), said("a", 6, token("a")), *end("stop", 7)
    )
    assert first["logprobs"]["content"] == [UNTOLD, UNTOLD, token("😀")]
    assert second["logprobs"]["content"] == [UNTOLD, token("é")]
    assert third["logprobs"]["content"] == [token("a")]
    assert "logprobs" not in last, "the token that ends an answer is nobody's text"


def test_tokens_of_a_character_that_is_not_finished_are_told_with_the_end() -> None:
    """The chunk with the reason waits for the count, which llama.cpp sends behind it."""
    first, last = retold(said("a", 1, token("a")), *end("length", 3))
    assert first["logprobs"]["content"] == [token("a")]
    assert (last["finish_reason"], last["logprobs"]["content"]) == ("length", [UNTOLD, UNTOLD])
    (only,) = retold(*end("length", 2))
    assert only["logprobs"]["content"] == [UNTOLD, UNTOLD]


def test_an_end_without_a_count_is_told_all_the_same() -> None:
    """Whatever came of the usage."""
    first, last = retold(said("a", 1, token("a")), end("length", 3)[0])
    assert (first["finish_reason"], last["finish_reason"]) == (None, "length")


def test_completions_tell_the_same_in_their_own_form() -> None:
    """Entry by entry in four lists; an unfinished character at the end as well."""
    text = {"text": "é", "index": 0, "logprobs": {"content": [token("é")]}, "finish_reason": None}
    last = {"text": "", "index": 0, "logprobs": None, "finish_reason": "length"}
    first, second = retold(
        {"choices": [text], "timings": {"predicted_n": 2}},
        {"choices": [last], "timings": {"predicted_n": 3}, "usage": {"completion_tokens": 3}},
        legacy=True,
    )
    assert first["logprobs"] == {
        "tokens": ["", "é"],
        "token_logprobs": [-9999.0, -2.5],
        "top_logprobs": [{}, {}],
        "text_offset": [0, 0],
    }
    assert second["logprobs"] == {
        "tokens": [""],
        "token_logprobs": [-9999.0],
        "top_logprobs": [{}],
        "text_offset": [1],
    }


def test_a_whole_answer_has_them_too() -> None:
    """It is put together from the same chunks."""
    assembly = ChunkAssembler()
    telling = ChunkRewriter("mine", 0, legacy=False)
    telling.run(0, same_prompt=False)
    for chunk in (progress(ROLE), said("😀", 3, token("😀")), *end("length", 4)):
        told = telling.chunk(chunk)
        if told is not None:
            assembly.feed(told)
    answer: Any = assembly.response(telling.usage())
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "😀"}
    assert choice["logprobs"]["content"] == [UNTOLD, UNTOLD, token("😀"), UNTOLD]
    assert answer["usage"]["completion_tokens"] == len(choice["logprobs"]["content"])


def test_without_log_probabilities_nothing_is_added() -> None:
    """Neither entries nor waiting."""
    first, last = retold(
        {"choices": [{"delta": {"content": "😀"}}], "timings": {"predicted_n": 3}}, *end("length", 4), top=None
    )
    assert "logprobs" not in first
    assert "logprobs" not in last
