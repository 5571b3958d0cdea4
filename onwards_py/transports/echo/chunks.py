"""The common stream of Chat Completions and Completions: chunks of choices, then usage, then [DONE]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import orjson

from onwards_py.transports.echo.answers import DONE
from onwards_py.transports.echo.params import JsonObject, as_object, flag
from onwards_py.transports.echo.words import Reply

FINGERPRINT = "fp_echo"


@dataclass(frozen=True, slots=True)
class Chunks:
    """One stream's chunks. Only the words differ between them, so the rest is encoded once.

    ``envelope`` holds the members before ``choices``. ``before`` and ``after`` surround a choice's
    encoded word. ``usage``: the client asked for a usage chunk; all others then have ``null``.
    """

    envelope: JsonObject
    before: bytes
    after: bytes
    usage: bool

    @property
    def head(self) -> bytes:
        return b"data: " + orjson.dumps(self.envelope)[:-1] + b',"choices":['

    @property
    def tail(self) -> bytes:
        return b'],"usage":null}\n\n' if self.usage else b"]}\n\n"

    def words(self, replies: list[Reply]) -> Iterator[bytes]:
        """One event per word, for one choice after the other."""
        tail = self.after + b',"logprobs":null,"finish_reason":null}' + self.tail
        heads = [self.head + b'{"index":%d,' % index + self.before for index in range(len(replies))]
        for column in zip_longest(*(reply.words for reply in replies)):
            for head, word in zip(heads, column, strict=True):
                if word is not None:
                    yield head + orjson.dumps(word) + tail

    def choice(self, choice: JsonObject) -> bytes:
        """An event with one choice that is not a word."""
        return self.head + orjson.dumps(choice) + self.tail

    def closing(self, usage: JsonObject) -> Iterator[bytes]:
        """The events after the last choice: usage, if it was requested, and ``[DONE]``."""
        if self.usage:
            yield self.head + b'],"usage":' + orjson.dumps(usage) + b"}\n\n"
        yield DONE


def wants_usage(body: JsonObject) -> bool:
    """Whether ``stream_options.include_usage`` is set."""
    return flag(as_object(body.get("stream_options")), "include_usage")


def usage_of(prompt: int, completion: int) -> JsonObject:
    """The ``usage`` object, with its details."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def finish_reason(reply: Reply) -> str:
    """``stop``, or ``length`` if a limit ended the choice."""
    return "length" if reply.cut else "stop"
