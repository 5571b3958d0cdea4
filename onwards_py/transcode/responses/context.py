"""The facts of a Responses request that its answer needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onwards_py.transcode.neutral.context import AnswerContext, Profile, Sealer

ENCRYPTED_REASONING = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"


@dataclass(frozen=True, slots=True)
class ResponsesContext(AnswerContext):
    """One translated request of a client of the Responses API."""

    request_echo: Mapping[str, object]
    """The 22 members of a response that repeat the request, with the specification's defaults (see `request_echo`)."""
    profile: Profile = Profile.OPENRESPONSES
    include: frozenset[str] = frozenset()
    obfuscation: bool = False
    """The deltas of a stream carry padding, because the client asked for it."""
    summary: str | None = None
    """The requested reasoning summary: auto, concise, detailed."""
    phased: bool = False
    """The client understands the phases of messages (as Codex does)."""
    sealer: Sealer | None = None
    """Creates ``encrypted_content`` if ``include`` asks for it; None: reasoning is not sealed."""
    origin: str = ""
    """The provider's name, as in `Policy.origin`; it is sealed with the reasoning."""

    def __post_init__(self) -> None:
        keeps = self.sealer is not None and ENCRYPTED_REASONING in self.include
        object.__setattr__(self, "keeps_opaque", keeps)
