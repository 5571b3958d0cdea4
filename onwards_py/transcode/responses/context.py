"""What the answer to a Responses request must know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onwards_py.transcode.neutral.context import AnswerContext, Profile, Sealer

ENCRYPTED_REASONING = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"


@dataclass(frozen=True, slots=True)
class ResponsesContext(AnswerContext):
    """One translated request.

    ``echo``: the members of the ResponseResource that repeat the request, with the specification's defaults: model,
      previous_response_id, instructions, tools, tool_choice, truncation, parallel_tool_calls, text, top_p,
      presence_penalty, frequency_penalty, top_logprobs, temperature, reasoning, max_output_tokens, max_tool_calls,
      store, background, service_tier, metadata, safety_identifier, prompt_cache_key (22 keys). Missing of the 31:
      id, object, created_at, completed_at, status, incomplete_details, output, error, usage.
    ``include``: as asked for. ``summary``: the wish for a reasoning summary (auto, concise, detailed) or None.
    ``obfuscation``: the deltas of a stream carry padding; if the client asked; most would rather save the bytes.
    ``phased``: the client knows the phases of messages, as Codex does: those of the answer have theirs.
    ``sealer``: what makes ``encrypted_content`` if ``include`` asks for it; None: none is made. ``origin``: as in
      `Policy`; it is sealed, too.
    """

    echo: Mapping[str, object]
    profile: Profile = Profile.OPENRESPONSES
    include: frozenset[str] = frozenset()
    obfuscation: bool = False
    summary: str | None = None
    phased: bool = False
    sealer: Sealer | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        keeps = self.sealer is not None and ENCRYPTED_REASONING in self.include
        object.__setattr__(self, "keeps_opaque", keeps)
