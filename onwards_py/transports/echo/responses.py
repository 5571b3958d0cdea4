"""POST /responses (Open Responses), complete and streamed: one message item with one text part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from onwards_py.messages import WallClock
from onwards_py.transports.echo.answers import DONE, CompleteAnswer, EchoError, EchoRequest, StreamedAnswer
from onwards_py.transports.echo.params import JsonObject, flag, parse, text
from onwards_py.transports.echo.response_fields import echoed
from onwards_py.transports.echo.words import Reply, count, count_all, last_user_text, messages, reply


def answer(ask: EchoRequest) -> CompleteAnswer | StreamedAnswer:
    """Repeat the user's last message. Raises EchoError."""
    body = parse(ask.body)
    conversation = _conversation(body)
    fields = echoed(body)
    limit = fields["max_output_tokens"]
    said = reply(
        last_user_text(conversation) if ask.text is None else ask.text, limit if isinstance(limit, int) else None
    )
    response = _Response(
        id=ask.new_id("resp_echo_"),
        item_id=ask.new_id("msg_echo_"),
        created_at=int(ask.now()),
        model=ask.model,
        fields=fields,
        said=said,
        encoded=orjson.Fragment(orjson.dumps(said.text)),
        usage=_usage(count_all(conversation) + count(text(body, "instructions") or ""), len(said.words)),
        now=ask.now,
    )
    if not flag(body, "stream"):
        return CompleteAnswer(orjson.dumps(response.finished()), len(said.words))
    return StreamedAnswer(_opening(response), _words(response), _closing(response), len(said.words))


def _conversation(body: JsonObject) -> list[JsonObject]:
    said = body.get("input")
    if isinstance(said, str):
        return [{"role": "user", "content": said}]
    if said is None and body.get("previous_response_id") is None:
        raise EchoError("'input' is required.", param="input")
    return messages(body, "input") if said is not None else []


def _usage(asked: int, given: int) -> JsonObject:
    return {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": given,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked + given,
    }


@dataclass(frozen=True, slots=True)
class _Response:
    """One response in all its states. ``encoded`` is the full text as a JSON string."""

    id: str
    item_id: str
    created_at: int
    model: str
    fields: JsonObject
    said: Reply
    encoded: orjson.Fragment
    usage: JsonObject
    now: WallClock

    def snapshot(self, status: str, **rest: object) -> JsonObject:
        """The Response object with every required member; ``rest`` replaces the nulls."""
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self.model,
            "output": [],
            "usage": None,
            **self.fields,
            **rest,
        }

    def finished(self) -> JsonObject:
        """The last state: completed, or incomplete because of ``max_output_tokens``."""
        if self.said.cut:
            details = {"reason": "max_output_tokens"}
            return self.snapshot("incomplete", output=[self.item()], usage=self.usage, incomplete_details=details)
        return self.snapshot("completed", output=[self.item()], usage=self.usage, completed_at=int(self.now()))

    def item(self) -> JsonObject:
        """The finished message."""
        return self._message("incomplete" if self.said.cut else "completed", [self.part(self.encoded)])

    def empty_item(self) -> JsonObject:
        """The message before its first part."""
        return self._message("in_progress", [])

    def part(self, encoded: object) -> JsonObject:
        """A text part."""
        return {"type": "output_text", "text": encoded, "annotations": [], "logprobs": []}

    def _message(self, status: str, content: list[JsonObject]) -> JsonObject:
        return {"id": self.item_id, "type": "message", "status": status, "role": "assistant", "content": content}

    @property
    def place(self) -> JsonObject:
        """The position of the text part: the common members of its events."""
        return {"item_id": self.item_id, "output_index": 0, "content_index": 0}


def _event(kind: str, sequence: int, members: Mapping[str, object]) -> bytes:
    document = orjson.dumps({"type": kind, "sequence_number": sequence, **members})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), document)


_OPENING_EVENTS = 4


def _opening(response: _Response) -> Iterator[bytes]:
    begun = {"response": response.snapshot("in_progress")}
    yield _event("response.created", 0, begun)
    yield _event("response.in_progress", 1, begun)
    yield _event("response.output_item.added", 2, {"output_index": 0, "item": response.empty_item()})
    yield _event("response.content_part.added", 3, {**response.place, "part": response.part("")})


def _words(response: _Response) -> Iterator[bytes]:
    kind = "response.output_text.delta"
    place = orjson.dumps(response.place)[1:-1]
    before = b'event: %b\ndata: {"type":"%b",%b,"logprobs":[],"delta":' % (kind.encode(), kind.encode(), place)
    for sequence, word in enumerate(response.said.words, _OPENING_EVENTS):
        yield before + orjson.dumps(word) + b',"sequence_number":%d}\n\n' % sequence


def _closing(response: _Response) -> Iterator[bytes]:
    sequence = _OPENING_EVENTS + len(response.said.words)
    whole = {**response.place, "text": response.encoded, "logprobs": []}
    yield _event("response.output_text.done", sequence, whole)
    part = {**response.place, "part": response.part(response.encoded)}
    yield _event("response.content_part.done", sequence + 1, part)
    yield _event("response.output_item.done", sequence + 2, {"output_index": 0, "item": response.item()})
    finished = response.finished()
    yield _event(f"response.{finished['status']}", sequence + 3, {"response": finished})
    yield DONE
