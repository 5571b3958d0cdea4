"""Streams in the shapes of real providers, the request each of them answers, and the events each becomes.

``tests/data/streams/<preset>-<case>.sse`` is what the provider sends; ``<preset>-<case>.json`` the events expected
of it. After a wanted change of behaviour, write the expectations anew and read the difference before committing it::

    PYTHONPATH=tests python -m support.recorded
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import orjson

from onwards_py.messages import Ending
from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral.policy import Policy
from onwards_py.transcode.neutral.quirks import Quirks, Think
from onwards_py.transcode.pairs import to_chat
from onwards_py.transcode.responses.context import ResponsesContext
from support.responses_oracle import events_of
from support.responses_promises import Json, as_dict
from support.transcoding import PlainSealer, translate

STREAMS = Path(__file__).parent.parent / "data" / "streams"
_DIALECTS = {"llamacpp": "llama_cpp", "anthropic": "anthropic_compat"}
_FUNCTIONS = [
    {"type": "function", "name": name, "description": None, "parameters": {"type": "object", "properties": {}}}
    for name in ("get_weather", "get_time")
]
_REQUEST: Json = {"model": "m", "input": "x", "stream": True, "tools": _FUNCTIONS}
_MORE: Mapping[str, Json] = {
    "openai-logprobs": {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
    "generic-custom-and-namespace": {
        "tools": [
            {"type": "custom", "name": "apply_patch", "description": "Edit files."},
            {
                "type": "namespace",
                "name": "files",
                "description": "Files.",
                "tools": [{**_FUNCTIONS[0], "name": "read"}],
            },
        ]
    },
}
_OWN = "id", "status", "model", "service_tier", "output", "error", "incomplete_details", "completed_at", "usage"
_ENCRYPTED: Json = {"include": ["reasoning.encrypted_content"]}


def names() -> list[str]:
    """All recorded streams."""
    return sorted(file.stem for file in STREAMS.glob("*.sse"))


def stream(name: str) -> bytes:
    """What the provider sends."""
    return (STREAMS / f"{name}.sse").read_bytes()


def ending(name: str) -> Ending:
    """How its connection ends: the streams called cut break off, the others end as their framing says."""
    return Ending.EOF if "-cut" in name else Ending.DONE


def quirks(name: str) -> Quirks:
    """The preset that the name begins with."""
    dialect = name.partition("-")[0]
    preset = PRESETS[_DIALECTS.get(dialect, dialect)]
    return replace(preset, think=Think.TAGGED) if "think-tags" in name else preset


def context(name: str) -> ResponsesContext:
    """The context of the request that the stream answers."""
    more = _ENCRYPTED if name.startswith(("gemini", "openrouter")) else _MORE.get(name, {})
    return to_chat({**_REQUEST, **more}, quirks(name), Policy(sealer=PlainSealer())).context


def expected(name: str) -> object:
    """The blessed events, in the form of `shown`."""
    return orjson.loads((STREAMS / f"{name}.json").read_bytes())


def shown(raw: bytes) -> list[Json]:
    """Events as the expectations keep them: numbers are their places; a response shows what is not of its request."""
    return [_shown(event) for event in events_of(raw)]


def _shown(event: Json) -> Json:
    event = {key: value for key, value in event.items() if key != "sequence_number"}
    if "response" in event:
        body = as_dict(event["response"])
        event["response"] = {key: body[key] for key in _OWN if body.get(key)}
    return event


def bless() -> None:
    """Write what comes out now as what is expected."""
    for name in names():
        events = shown(translate(stream(name), context(name), ending(name)))
        lines = b",\n".join(orjson.dumps(event) for event in events)
        (STREAMS / f"{name}.json").write_bytes(b"[\n" + lines + b"\n]\n")


if __name__ == "__main__":
    bless()
