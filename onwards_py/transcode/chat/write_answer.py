"""Writes an answer for a client of Chat Completions: deltas in, chunks or a complete answer out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onwards_py.transcode.chat.context import ChatContext
from onwards_py.transcode.neutral import deltas
from onwards_py.transcode.neutral.context import Ids, ToolKind
from onwards_py.transcode.neutral.images import GeneratedImage
from onwards_py.transcode.neutral.machine import Out
from onwards_py.transcode.neutral.sealed import RESPONSES_REASONING

_TIERS = frozenset({"default", "flex", "scale", "priority"})
"""The tiers in the enumerations of strict clients. ``auto`` is not among them: it is valid only in requests."""


_REASONS = {deltas.Stop.LENGTH: "length", deltas.Stop.FILTER: "content_filter"}


class _Call:
    __slots__ = ("call_id", "custom", "name", "number", "texts")

    def __init__(self, start: deltas.CallStart, number: int, call_id: str) -> None:
        self.name = start.name
        self.custom = start.kind is ToolKind.CUSTOM
        self.call_id = call_id
        self.number = number
        self.texts: list[str] = []

    def entry(self, text: str) -> Out:
        """The entry of ``tool_calls`` for this call, without its index."""
        if self.custom:
            return {"id": self.call_id, "type": "custom", "custom": {"name": self.name, "input": text}}
        return {"id": self.call_id, "type": "function", "function": {"name": self.name, "arguments": text}}


class ChatWriter:
    """One answer; a `Writer`. ``clock``: the time in seconds since the epoch.

    Model and service tier are those that are known at the beginning of the answer.
    """

    announcements = deltas.ANNOUNCEMENTS

    def __init__(self, context: ChatContext, ids: Ids, clock: Callable[[], int]) -> None:
        self.begun = False
        self.dropped: dict[str, None] = {}
        self._context = context
        self._ids = ids
        self._id = ids.new_id("chatcmpl-")
        self._created = clock()
        self._model = context.model
        self._service_tier = ""
        self._head: Out = {}
        self._chunks: list[Out] = []
        self._content: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: list[str] = []
        self._logprobs: list[Out] = []
        self._annotations: list[Out] = []
        self._images: list[Out] = []
        self._details: list[Out] = []
        self._calls: dict[int, _Call] = {}
        self._finish_reason: str | None = None
        self._usage: Out | None = None

    def begin(self) -> None:
        """Write the role, unless it was already written."""
        if not self.begun:
            self.begun = True
            self._head = self._members("chat.completion.chunk")
            self._chunk({"role": "assistant", "content": ""})

    def pause(self) -> None:
        """An empty chunk."""
        self._chunk({})

    def put(self, delta: deltas.Delta) -> None:
        """Write one delta."""
        _PUT[type(delta)](self, delta)

    def take(self) -> list[Out]:
        """The chunks since the last call."""
        chunks, self._chunks = self._chunks, []
        return chunks

    def ends_with_done(self, failed: bool) -> bool:
        """``[DONE]`` follows every answer except a failed one."""
        return not failed

    def answer(self) -> Out:
        """The complete chat completion."""
        choice: Out = {
            "index": 0,
            "message": self._message(),
            "logprobs": {"content": self._logprobs, "refusal": None} if self._context.wants_logprobs else None,
            "finish_reason": self._finish_reason,
        }
        whole: Out = {**self._members("chat.completion"), "choices": [choice]}
        if self._usage is not None:
            whole["usage"] = self._usage
        return whole

    def _start(self, _delta: deltas.Started) -> None:
        self.begin()

    def _skip(self, _delta: deltas.Delta) -> None:
        """Ignore the beginnings and ends of items, which Chat Completions does not have."""

    def _learn(self, delta: deltas.Metadata) -> None:
        self._model = delta.model or self._model
        self._service_tier = delta.service_tier or self._service_tier

    def _text(self, delta: deltas.TextDelta) -> None:
        self._content.append(delta.text)
        if delta.logprobs and self._context.wants_logprobs:
            self._logprobs += delta.logprobs
            self._chunk({"content": delta.text}, list(delta.logprobs))
        elif delta.text:
            self._chunk({"content": delta.text})

    def _refuse(self, delta: deltas.RefusalDelta) -> None:
        self._refusal.append(delta.text)
        self._chunk({"refusal": delta.text})

    def _reason(self, delta: deltas.ReasoningDelta) -> None:
        self._reasoning.append(delta.text)
        self._chunk({"reasoning_content": delta.text})

    def _cite(self, delta: deltas.Citations) -> None:
        annotations: list[Out] = []
        for one in delta.citations:
            citation = {"start_index": one.start, "end_index": one.end, "url": one.url, "title": one.title}
            annotations.append({"type": "url_citation", "url_citation": citation})
        self._annotations += annotations
        self._chunk({"annotations": annotations})

    def _image(self, image: GeneratedImage) -> None:
        """Write an image in OpenRouter's form, which clients support."""
        entry: Out = {"type": "image_url", "image_url": {"url": image.data_url}, "index": len(self._images)}
        self._images.append(entry)
        self._chunk({"images": [entry]})

    def _seal(self, delta: deltas.OpaqueReasoning) -> None:
        """Write opaque reasoning in OpenRouter's form, which clients send back."""
        if delta.origin != RESPONSES_REASONING:
            self.dropped["reasoning"] = None
            return
        detail: Out = {"type": "reasoning.encrypted", "id": delta.id or None, "format": delta.origin}
        detail |= {"data": delta.data, "index": len(self._details)}
        self._details.append(detail)
        self._chunk({"reasoning_details": [detail]})

    def _start_call(self, delta: deltas.CallStart) -> None:
        call = _Call(delta, len(self._calls), delta.call_id or self._ids.new_id("call_"))
        self._calls[delta.number] = call
        if self._context.legacy_functions:
            self._chunk({"function_call": {"name": call.name, "arguments": ""}})
        else:
            self._chunk({"tool_calls": [{"index": call.number, **call.entry("")}]})

    def _arguments(self, delta: deltas.CallDelta) -> None:
        call = self._calls[delta.number]
        call.texts.append(delta.text)
        if self._context.legacy_functions:
            self._chunk({"function_call": {"arguments": delta.text}})
        elif call.custom:
            self._chunk({"tool_calls": [{"index": call.number, "custom": {"input": delta.text}}]})
        else:
            self._chunk({"tool_calls": [{"index": call.number, "function": {"arguments": delta.text}}]})

    def _count(self, usage: deltas.Usage) -> None:
        self._usage = {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, **usage.input_details},
            "completion_tokens_details": {"reasoning_tokens": 0, **usage.output_details},
        }

    def _finish(self, delta: deltas.Finished) -> None:
        self._finish_reason = reason = self._reason_of(delta.stop)
        self._chunk({}, None, reason)
        if self._context.wants_usage_chunk and self._usage is not None:
            self._chunks.append({**self._head, "choices": [], "usage": self._usage})

    def _fail(self, delta: deltas.Failed) -> None:
        self._chunks.append(delta.failure.envelope())

    def _reason_of(self, stop: deltas.Stop) -> str:
        if stop is not deltas.Stop.END:
            return _REASONS[stop]
        if not self._calls:
            return "stop"
        return "function_call" if self._context.legacy_functions else "tool_calls"

    def _members(self, object_: str) -> Out:
        members: Out = {"id": self._id, "object": object_, "created": self._created, "model": self._model}
        if self._service_tier in _TIERS:
            members["service_tier"] = self._service_tier
        return members

    def _message(self) -> Out:
        content, refusal, reasoning = map("".join, (self._content, self._refusal, self._reasoning))
        message: Out = {
            "role": "assistant",
            "content": content if content or not (refusal or self._calls) else None,
            "refusal": refusal or None,
            "annotations": self._annotations,
        }
        if reasoning:
            message["reasoning_content"] = reasoning
        if self._images:
            message["images"] = self._images
        if self._details:
            message["reasoning_details"] = self._details
        calls = list(self._calls.values())
        if calls and self._context.legacy_functions:
            message["function_call"] = {"name": calls[0].name, "arguments": "".join(calls[0].texts)}
        elif calls:
            message["tool_calls"] = [call.entry("".join(call.texts)) for call in calls]
        return message

    def _chunk(self, delta: Out, logprobs: list[Out] | None = None, reason: str | None = None) -> None:
        if not self.begun:
            self.begin()
        tokens = {"content": logprobs, "refusal": None} if logprobs else None
        choice = {"index": 0, "delta": delta, "logprobs": tokens, "finish_reason": reason}
        chunk: Out = {**self._head, "choices": [choice]}
        if self._context.wants_usage_chunk:
            chunk["usage"] = None
        self._chunks.append(chunk)


_W = ChatWriter
_PUT: Mapping[type, Callable[..., None]] = {
    deltas.Started: _W._start,
    deltas.Metadata: _W._learn,
    deltas.TextDelta: _W._text,
    deltas.RefusalDelta: _W._refuse,
    deltas.Citations: _W._cite,
    deltas.ReasoningDelta: _W._reason,
    deltas.OpaqueReasoning: _W._seal,
    deltas.CallStart: _W._start_call,
    deltas.CallDelta: _W._arguments,
    GeneratedImage: _W._image,
    deltas.Usage: _W._count,
    deltas.Finished: _W._finish,
    deltas.Failed: _W._fail,
    **dict.fromkeys(deltas.ITEM_BOUNDS, _W._skip),
}
