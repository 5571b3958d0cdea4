"""Reasoning that a client stores for the proxy: the content of ``reasoning.encrypted_content``.

This module defines only the format; the injected `Sealer` encrypts and decrypts. The data are one byte for the kind,
then the JSON of the assistant message's own fields (``reasoning_content``, ``reasoning_details``, ...), which are
restored unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from onwards_py.transcode.neutral import lenient_json
from onwards_py.transcode.neutral.context import Sealer

_REASONING = b"\x01"

CHAT_FIELDS = "chat message"
"""Origin of opaque reasoning that consists of fields of a chat message."""

RESPONSES_REASONING = "openai-responses-v1"
"""Origin of opaque reasoning from the ``encrypted_content`` of a reasoning item."""

ORIGIN = "onwards_origin"
"""Not a field of a chat message: the provider that sent it."""

CALL_EXTRAS = "tool_call_extra_content"
"""Not a field of a chat message: call id -> ``extra_content``, to be put back on the calls themselves."""


def seal_reasoning(fields: Mapping[str, object], sealer: Sealer) -> str:
    """The blob for a reasoning item; ``fields`` are the provider's message fields that carry reasoning."""
    return sealer.seal(_REASONING + lenient_json.dumps(dict(fields)))


def open_reasoning(blob: str, sealer: Sealer | None) -> dict[str, object] | None:
    """The sealed fields; None for a blob that this proxy did not seal."""
    plain = sealer.open(blob) if sealer else None
    if plain is None or plain[:1] != _REASONING:
        return None
    fields = orjson.loads(plain[1:])
    return fields if isinstance(fields, dict) else None
