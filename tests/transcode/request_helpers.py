"""Short ways to say a request and to look at what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral.policy import InvalidRequest, OnUnsupported, Policy
from onwards_py.transcode.neutral.quirks import Quirks
from onwards_py.transcode.pairs import Translated, to_chat
from onwards_py.transcode.responses.context import ResponsesContext

GENERIC = PRESETS["generic"]
OPENAI = PRESETS["openai"]
DROP = Policy(on_unsupported=OnUnsupported.DROP)


def translate(
    given: object = "hi",
    *,
    quirks: Quirks = GENERIC,
    policy: Policy | None = None,
    **fields: object,
) -> Translated[ResponsesContext]:
    """Translate a request with this ``input`` and these further fields."""
    return to_chat({"model": "m", "input": given, **fields}, quirks, policy or Policy())


def messages(given: object, *, quirks: Quirks = GENERIC, policy: Policy | None = None, **fields: object) -> Any:
    """The chat messages for this input."""
    return translate(given, quirks=quirks, policy=policy, **fields).body["messages"]


def generic(**changes: Any) -> Quirks:
    """The generic quirks with changes."""
    return replace(GENERIC, **changes)


def refusal(given: object = "hi", *, policy: Policy | None = None, **fields: Any) -> InvalidRequest:
    """The refusal that this request meets; the test fails if there is none."""
    with pytest.raises(InvalidRequest) as caught:
        translate(given, policy=policy, **fields)
    return caught.value


def user(text: str) -> dict[str, object]:
    return {"role": "user", "content": text}


def call(call_id: str, name: str = "f", arguments: object = "{}", **more: object) -> dict[str, object]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, **more}


def output(call_id: str, said: object = "ok") -> dict[str, object]:
    return {"type": "function_call_output", "call_id": call_id, "output": said}


def text(said: str) -> dict[str, object]:
    return {"type": "input_text", "text": said}


def image(url: str = "data:image/png;base64,AA==", **more: object) -> dict[str, object]:
    return {"type": "input_image", "image_url": url, **more}


def reasoning(said: str, **more: object) -> dict[str, object]:
    return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": said}], **more}


def function(name: str = "f", **more: object) -> dict[str, object]:
    return {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, **more}
