"""Rewrites the chunks of llama.cpp for the client, and extracts the cost.

Pure. A request can need several runs of llama.cpp, one per choice and prompt; for the client they are one response.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from onwards_py.engines.chunk_assembler import Json
from onwards_py.engines.protocol import ComputeCost

_UNKNOWN: Final = -9999.0  # OpenAI's value for an unknown log probability


@dataclass(slots=True)
class _Cost:
    """The cost of one run: its usage, and measurements of llama.cpp."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    read: int = 0
    made: int = 0
    read_ms: float = 0.0
    made_ms: float = 0.0


class ChunkRewriter:
    """Rewrites the chunks of all runs as one stream, with one id and the model name that the client used.

    ``top``: most alternatives in the logprobs of a token; None: no logprobs requested. ``legacy``: logprobs in the form
    of ``/completions``.

    llama.cpp sends no chunk for a token whose text ends within a character: its logprobs are missing, and the role too
    if it is the first token. The role is then added to the next chunk; such tokens are counted, and get the value for
    an unknown log probability.
    """

    def __init__(self, model: str, top: int | None, legacy: bool) -> None:
        self._model = model
        self._top = top
        self._legacy = legacy
        self._has_role = False
        self._held: Json | None = None
        self._tokens = 0
        self._index = 0
        self._offset = 0
        self._shares_prompt = False
        self._costs: list[tuple[_Cost, bool]] = []
        self._cost = _Cost()
        self._head: Json = {}
        self.finished = False
        """Whether the run has a finish reason."""
        self.started = False
        """Whether the run has sent any chunk, even about its progress."""

    def run(self, index: int, *, same_prompt: bool) -> None:
        """Begin the run of choice ``index``. ``same_prompt``: the previous run has counted the prompt."""
        self._index = index
        self._offset = 0
        self._has_role = False
        self._tokens = 0
        self._cost = _Cost()
        self._costs.append((self._cost, same_prompt))
        self.finished = False
        self.started = False

    def chunk(self, raw: object) -> Json | None:
        """The chunk for the client; None: this chunk is not forwarded. Usage is kept for `usage_chunk`."""
        if not isinstance(raw, dict):  # llama.cpp sends one ``null`` before some streams
            return None
        self.started = True
        self._measure(raw.pop("timings", None), raw.pop("usage", None))
        choices = raw.get("choices")
        if raw.pop("prompt_progress", None) is not None:
            return None
        if not choices:  # usage only: by now all tokens are counted
            return self.rest()
        if not self._head:
            self._head = {name: raw[name] for name in ("id", "created") if name in raw}
        rewritten: Json = {**raw, **self._head, "model": self._model}
        for choice in choices:
            choice["index"] = self._index
            self._add_role(choice)
            self.finished = self.finished or choice.get("finish_reason") is not None
            if self._top is not None and choice.get("finish_reason") == "length" and not self._legacy:
                self._held = rewritten
        if self._held is not None:
            return None
        self._rewrite_logprobs(choices)
        return rewritten

    def rest(self) -> Json | None:
        """The last chunk of the run, if it was held back until all tokens were counted."""
        held, self._held = self._held, None
        if held is not None:
            self._rewrite_logprobs(cast("list[Json]", held["choices"]))
        return held

    def _add_role(self, choice: Json) -> None:
        delta = choice.get("delta")
        if not self._has_role and isinstance(delta, dict):
            choice["delta"] = {"role": "assistant", **delta}
            self._has_role = True

    def _measure(self, timings: object, usage: object) -> None:
        cost = self._cost
        if isinstance(timings, dict):
            cost.read, cost.made = timings.get("prompt_n", 0), timings.get("predicted_n", 0)
            cost.read_ms, cost.made_ms = timings.get("prompt_ms", 0.0), timings.get("predicted_ms", 0.0)
        if isinstance(usage, dict):
            cost.prompt, cost.completion = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
            cost.cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)

    def _rewrite_logprobs(self, choices: list[Json]) -> None:
        if self._top is None:
            return
        for choice in choices:
            logprobs = choice.get("logprobs")
            tokens = cast("list[Json]", logprobs.get("content") or []) if isinstance(logprobs, dict) else []
            for token in tokens:
                token["top_logprobs"] = cast("list[Json]", token.get("top_logprobs") or [])[: self._top]
            # At a stop, the last token is an end-of-text token, which APIs do not report.
            if tokens or choice.get("finish_reason") == "length":
                tokens = [*self._uncounted_tokens(len(tokens)), *tokens]
            self._tokens += len(tokens)
            if tokens:
                choice["logprobs"] = self._legacy_logprobs(tokens) if self._legacy else {"content": tokens}

    def _uncounted_tokens(self, reported: int) -> list[Json]:
        """The tokens since the last chunk that this chunk does not contain."""
        count = max(self._cost.made, self._cost.completion) - self._tokens - reported
        return [{"token": "", "bytes": [], "logprob": _UNKNOWN, "top_logprobs": []} for _ in range(count)]

    def _legacy_logprobs(self, tokens: list[Json]) -> Json:
        offsets: list[int] = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(cast("str", token["token"]))
        tops = [{other["token"]: other["logprob"] for other in cast("list[Json]", t["top_logprobs"])} for t in tokens]
        return {
            "tokens": [token["token"] for token in tokens],
            "token_logprobs": [token["logprob"] for token in tokens],
            "top_logprobs": tops,
            "text_offset": offsets,
        }

    def usage(self) -> Json:
        """The usage of all runs. A prompt that choices share counts once, as OpenAI bills it."""
        own = [cost for cost, same_prompt in self._costs if not same_prompt]
        prompt, completion = sum(cost.prompt for cost in own), sum(cost.completion for cost, _ in self._costs)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": sum(cost.cached for cost in own)},
        }

    def usage_chunk(self, last: Json) -> Json:
        """The chunk without choices that ends a stream whose client asked for ``include_usage``, after ``last``."""
        return {**last, "choices": [], "usage": self.usage()}

    def cost(self) -> ComputeCost | None:
        """The computed tokens, without those in llama.cpp's cache. None: nothing was computed."""
        costs = [cost for cost, _ in self._costs]
        read, made = sum(cost.read for cost in costs), sum(cost.made for cost in costs)
        if not read and not made:
            return None
        return ComputeCost(
            read, made, sum(cost.read_ms for cost in costs) / 1000, sum(cost.made_ms for cost in costs) / 1000
        )
