"""The facts of a chat request that its answer needs."""

from __future__ import annotations

from dataclasses import dataclass

from onwards_py.transcode.neutral.context import AnswerContext


@dataclass(frozen=True, slots=True)
class ChatContext(AnswerContext):
    """One translated request of a client of Chat Completions."""

    model: str
    """The requested model name, for answers without one."""
    wants_logprobs: bool = False
    legacy_functions: bool = False
    """The request has ``functions``, so the answer has ``function_call``, which can contain only one call."""

    def __post_init__(self) -> None:
        if self.legacy_functions:
            object.__setattr__(self, "one_call", True)
