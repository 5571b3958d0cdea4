"""What an answer must know of its request: everything that `to_responses` leaves for `EventsToChunks`."""

from __future__ import annotations

from dataclasses import dataclass, field

from onwards_py.transcode.neutral.quirks import Quirks


@dataclass(frozen=True, slots=True)
class Context:
    """One translated request.

    ``model``: as the client asked for it, for answers that do not name theirs. ``wants_usage_chunk``: the stream ends
    with a chunk of usage. ``legacy_functions``: the request spoke of ``functions``, so the answer speaks of
    ``function_call``.
    """

    model: str
    quirks: Quirks = field(default_factory=Quirks)
    wants_stream: bool = False
    wants_usage_chunk: bool = False
    wants_logprobs: bool = False
    legacy_functions: bool = False
