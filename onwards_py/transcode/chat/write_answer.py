"""The client's side of an answer: chunks, and at the same time the whole that they add up to."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.chat.context import Context
from onwards_py.transcode.chat.write_ending import TIERS
from onwards_py.transcode.neutral.answer_body import Out
from onwards_py.transcode.neutral.context import Ids
from onwards_py.transcode.responses.item_tracker import Call
from onwards_py.transcode.responses.output_items import Field


class Answer:
    """One answer. Until `begin` nothing is said; what ``model`` and ``service_tier`` are by then, chunks tell."""

    __slots__ = (
        "_annotations",
        "_chunks",
        "_context",
        "_created",
        "_details",
        "_head",
        "_id",
        "_images",
        "_logprobs",
        "begun",
        "calls",
        "finish_reason",
        "length",
        "model",
        "service_tier",
        "texts",
        "usage",
    )

    def __init__(self, context: Context, ids: Ids, created: int) -> None:
        self.begun = False
        self.model = context.model
        self.service_tier = ""
        self.texts: dict[Field, list[str]] = {field: [] for field in Field}
        self.length = 0
        self.calls: list[Call] = []
        self.finish_reason: str | None = None
        self.usage: Mapping[str, object] | None = None
        self._context = context
        self._id = ids.new_id("chatcmpl-")
        self._created = created
        self._head: Out = {}
        self._chunks: list[Out] = []
        self._logprobs: list[object] = []
        self._annotations: list[object] = []
        self._details: list[object] = []
        self._images: list[object] = []

    @property
    def with_logprobs(self) -> bool:
        """Whether the client wants log probabilities."""
        return self._context.wants_logprobs

    def begin(self) -> None:
        """Say the role, if that was not done."""
        if not self.begun:
            self.begun = True
            self._head = self._members("chat.completion.chunk")
            self._chunk({"role": "assistant", "content": ""}, None, None)

    def pause(self) -> None:
        """Say nothing, in a chunk."""
        self._chunk({}, None, None)

    def text(self, field: Field, text: str, logprobs: list[object]) -> None:
        """Say more in one of the texts."""
        if field is Field.CONTENT:
            self.length += len(text)
        self.texts[field].append(text)
        if logprobs and self._context.wants_logprobs:
            self._logprobs += logprobs
            self._say({field.value: text}, logprobs)
        else:
            self._say({field.value: text})

    def annotate(self, annotations: list[object]) -> None:
        """Say what the content cites."""
        self._annotations += annotations
        self._say({"annotations": annotations})

    def image(self, url: str) -> None:
        """Show an image, in the form that clients know of OpenRouter."""
        entry = {"type": "image_url", "image_url": {"url": url}, "index": len(self._images)}
        self._images.append(entry)
        self._say({"images": [entry]})

    def detail(self, detail: Out) -> None:
        """Say something opaque about the reasoning, which a client may give back."""
        detail["index"] = len(self._details)
        self._details.append(detail)
        self._say({"reasoning_details": [detail]})

    def announce(self, call: Call) -> None:
        """Say that there is a call, of which as yet nothing is known but the id and the name."""
        if self._context.legacy_functions:
            if self.calls:
                call.hidden = True  # there is no word for a second one
                return
            self._say({"function_call": {"name": call.name, "arguments": ""}})
        else:
            entry: Out = {"index": len(self.calls), "id": call.call_id, "type": "function"}
            if call.custom:
                entry |= {"type": "custom", "custom": {"name": call.name, "input": ""}}
            else:
                entry["function"] = {"name": call.name, "arguments": ""}
            self._say({"tool_calls": [entry]})
        call.number = len(self.calls)
        self.calls.append(call)

    def arguments(self, call: Call) -> None:
        """Say what of the arguments was not said yet."""
        fresh = call.take()
        if not fresh:
            return
        if self._context.legacy_functions:
            self._say({"function_call": {"arguments": fresh}})
        elif call.custom:
            self._say({"tool_calls": [{"index": call.number, "custom": {"input": fresh}}]})
        else:
            self._say({"tool_calls": [{"index": call.number, "function": {"arguments": fresh}}]})

    def end(self, reason: str) -> None:
        """Say why it ended, and what it took, if the client wants to know and the provider said so."""
        self.begin()
        self.finish_reason = reason
        self._chunk({}, None, reason)
        if self._context.wants_usage_chunk and self.usage is not None:
            self._chunks.append({**self._head, "choices": [], "usage": self.usage})

    def fail(self, envelope: Out) -> None:
        """Say that there will be no more."""
        self._chunks.append(envelope)

    def take(self) -> list[Out]:
        """The chunks since the last call."""
        chunks, self._chunks = self._chunks, []
        return chunks

    def completion(self) -> Out:
        """The whole answer."""
        choice: Out = {
            "index": 0,
            "message": self._message(),
            "logprobs": {"content": self._logprobs, "refusal": None} if self._context.wants_logprobs else None,
            "finish_reason": self.finish_reason,
        }
        whole: Out = {**self._members("chat.completion"), "choices": [choice]}
        if self.usage is not None:
            whole["usage"] = self.usage
        return whole

    def _members(self, object_: str) -> Out:
        members: Out = {"id": self._id, "object": object_, "created": self._created, "model": self.model}
        if self.service_tier in TIERS:
            members["service_tier"] = self.service_tier
        return members

    def _message(self) -> Out:
        content, refusal, reasoning = ("".join(self.texts[field]) for field in Field)
        message: Out = {
            "role": "assistant",
            "content": content if content or not (refusal or self.calls) else None,
            "refusal": refusal or None,
            "annotations": self._annotations,
        }
        if reasoning:
            message[Field.REASONING.value] = reasoning
        if self._images:
            message["images"] = self._images
        if self._details:
            message["reasoning_details"] = self._details
        if self.calls and self._context.legacy_functions:
            message["function_call"] = {"name": self.calls[0].name, "arguments": self.calls[0].arguments}
        elif self.calls:
            message["tool_calls"] = list(map(_tool_call, self.calls))
        return message

    def _say(self, delta: Out, logprobs: list[object] | None = None) -> None:
        self.begin()
        self._chunk(delta, logprobs, None)

    def _chunk(self, delta: Out, logprobs: list[object] | None, reason: str | None) -> None:
        tokens = {"content": logprobs, "refusal": None} if logprobs else None
        choice = {"index": 0, "delta": delta, "logprobs": tokens, "finish_reason": reason}
        chunk: Out = {**self._head, "choices": [choice]}
        if self._context.wants_usage_chunk:
            chunk["usage"] = None
        self._chunks.append(chunk)


def _tool_call(call: Call) -> Out:
    if call.custom:
        return {"id": call.call_id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function}
