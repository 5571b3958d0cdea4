"""Assembles a complete response from the chunks of a stream: Chat Completions and the older Completions.

Pure. An engine that always streams can be stopped at any token, also if its client did not ask for a stream; the chunks
are joined here for such clients. The result does not depend on how the text was split into chunks.
"""

from __future__ import annotations

from typing import Final, cast

Json = dict[str, object]

_CHAT: Final = "chat.completion.chunk"
_WHOLE_CHAT: Final = "chat.completion"


class ChunkAssembler:
    """Takes every chunk, in order, and returns the complete `response`."""

    def __init__(self) -> None:
        self._head: Json = {}
        self._choices: dict[int, Json] = {}

    def feed(self, chunk: Json) -> None:
        """Add one chunk. Fields outside of ``choices`` keep the value of the first chunk."""
        for name, value in chunk.items():
            if name != "choices":
                self._head.setdefault(name, value)
        for part in cast("list[Json]", chunk.get("choices") or []):
            self._feed_choice(part)

    def _feed_choice(self, part: Json) -> None:
        index = cast("int", part["index"])
        choice = self._choices.setdefault(index, {"index": index})
        for name, value in part.items():
            if name == "delta":
                _merge_delta(cast("Json", choice.setdefault("message", {})), cast("Json", value))
            elif name == "text":
                choice[name] = cast("str", choice.get(name, "")) + cast("str", value)
            elif name == "logprobs":
                choice[name] = _joined_logprobs(choice.get(name), value)
            elif name != "index" and (value is not None or name not in choice):
                choice[name] = value

    @property
    def finished(self) -> bool:
        """Whether there is a choice, and every choice has a finish reason."""
        return bool(self._choices) and all(choice.get("finish_reason") for choice in self._choices.values())

    def response(self, usage: Json) -> Json:
        """The complete response, with the choices in order. Content is null only if there are tool calls."""
        head = dict(self._head)
        for choice in self._choices.values():
            message = choice.get("message")
            if isinstance(message, dict) and message.get("content") is None and not message.get("tool_calls"):
                message["content"] = ""
        if head.get("object") == _CHAT:
            head["object"] = _WHOLE_CHAT
        return {**head, "choices": [self._choices[index] for index in sorted(self._choices)], "usage": usage}


def _merge_delta(message: Json, delta: Json) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            calls = cast("list[Json]", message.setdefault(name, []))
            for part in cast("list[Json]", value or []):
                _merge_call(calls, part)
        elif name == "role" or value is None:
            message.setdefault(name, value)
        elif isinstance(value, str):
            message[name] = cast("str", message.get(name) or "") + value
        else:
            message[name] = value


def _merge_call(calls: list[Json], part: Json) -> None:
    """A call's name, id and type come once, with its first part; its arguments come in pieces."""
    index = cast("int", part["index"])
    while len(calls) <= index:
        calls.append({})
    call = calls[index]
    for name, value in part.items():
        if name == "function":
            function = cast("Json", call.setdefault("function", {}))
            for key, text in cast("Json", value).items():
                if key == "arguments":
                    function[key] = cast("str", function.get(key, "")) + cast("str", text or "")
                else:
                    function.setdefault(key, text)
        elif name != "index":
            call.setdefault(name, value)


def _joined_logprobs(known: object, more: object) -> object:
    """Both are objects of lists, or null."""
    if not isinstance(known, dict) or not isinstance(more, dict):
        return more if isinstance(more, dict) else known
    return {
        name: [*cast("list[object]", known.get(name) or []), *cast("list[object]", more.get(name) or [])]
        for name in {**known, **more}
    }
