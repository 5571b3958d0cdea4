"""Results of classification as responses of each API."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from onwards_py.engines.classification import Classification

Api = Literal["chat", "completion"]
_PREFIX = {"chat": "chatcmpl", "completion": "cmpl"}


def _identity(prefix: str, kind: str, model: str) -> dict[str, object]:
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def _member(verdict: Classification) -> dict[str, object]:
    return {"label": verdict.label, "probabilities": verdict.probabilities, "scores": verdict.scores}


@dataclass(frozen=True, slots=True)
class ClassifierResponse:
    """A result as a language model's response whose content is the label. ``words``: prompt tokens in the usage."""

    api: Api
    model: str
    verdict: Classification
    words: int

    def body(self) -> bytes:
        """The body of a complete response. The member ``classification`` is an extension of classifiers."""
        label = self.verdict.label
        content: dict[str, object] = (
            {"message": {"role": "assistant", "content": label, "refusal": None}}
            if self.api == "chat"
            else {"text": label}
        )
        kind = "chat.completion" if self.api == "chat" else "text_completion"
        return orjson.dumps(
            _identity(_PREFIX[self.api], kind, self.model)
            | {"choices": [{"index": 0, **content, "logprobs": None, "finish_reason": "stop"}]}
            | {"classification": _member(self.verdict), "usage": self._usage()}
        )

    def events(self, with_usage: bool) -> Iterator[bytes]:
        """The data of each event of a stream, including ``[DONE]``; ``classification`` is in the first."""
        chat = self.api == "chat"
        label = self.verdict.label
        head = _identity(_PREFIX[self.api], "chat.completion.chunk" if chat else "text_completion", self.model)
        tail: dict[str, object] = {"usage": None} if with_usage else {}
        first: dict[str, object] = {"delta": {"role": "assistant", "content": label}} if chat else {"text": label}
        last: dict[str, object] = {"delta": {}} if chat else {"text": ""}

        def chunk(content: dict[str, object], reason: str | None) -> dict[str, object]:
            return head | {"choices": [{"index": 0, **content, "logprobs": None, "finish_reason": reason}]} | tail

        yield orjson.dumps(chunk(first, None) | {"classification": _member(self.verdict)})
        yield orjson.dumps(chunk(last, "stop"))
        if with_usage:
            yield orjson.dumps(head | {"choices": [], "usage": self._usage()})
        yield b"[DONE]"

    def _usage(self) -> dict[str, int]:
        return {"prompt_tokens": self.words, "completion_tokens": 1, "total_tokens": self.words + 1}


def classify_response(model: str, verdicts: Sequence[Classification], words: int) -> bytes:
    """The body of ``/classify``: the members of vLLM, and the probabilities by label."""
    data = [
        {
            "index": index,
            **_member(one),
            "probs": list(one.probabilities.values()),
            "num_classes": len(one.probabilities),
        }
        for index, one in enumerate(verdicts)
    ]
    usage = {"prompt_tokens": words, "completion_tokens": 0, "total_tokens": words}
    return orjson.dumps(_identity("classify", "list", model) | {"data": data, "usage": usage})
