"""Checks requests, and converts them for llama.cpp.

Pure. llama.cpp silently ignores many values of a wrong type; here they are rejected, with the name of the parameter.
Parameters that OpenAI's API lacks (``top_k``, ``min_p``, ``grammar``, ...) are passed on unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec
import orjson
from msgspec import Meta, Struct

from onwards_py.engines.base import Body, bad_request

_SEEDS = 0xFFFF_FFFF  # as a seed, this number means a random seed for llama.cpp

Text = Annotated[str, Meta(min_length=1)]
Positive = Annotated[int, Meta(ge=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Common(Struct):
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Positive | None = None
    temperature: Annotated[float, Meta(ge=0)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: int | None = None
    stop: Text | list[Text] | None = None
    logit_bias: dict[str, float] | None = None


class _ChatPart(Struct):
    type: str
    text: str | None = None


class _ChatMessage(Struct):
    role: Text
    content: str | list[_ChatPart] | None = None
    tool_calls: list[dict[str, object]] | None = None


class _JsonSchema(Struct):
    schema: dict[str, object]


class _Format(Struct):
    type: str
    json_schema: _JsonSchema | None = None
    schema: dict[str, object] | None = None


class _Chat(_Common, kw_only=True):
    messages: Annotated[list[_ChatMessage], Meta(min_length=1)]
    max_completion_tokens: Positive | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[dict[str, object]] | None = None
    tool_choice: str | dict[str, object] | None = None
    response_format: _Format | None = None


class _Completion(_Common, kw_only=True):
    prompt: str | list[str | int | list[int]]
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


# Set by the engine, or unsafe to pass on: the slot, and internal data in chunks.
_NOT_PASSED_ON = frozenset(
    {
        *("model", "stream", "stream_options", "n", "seed", "prompt", "logprobs", "top_logprobs", "echo", "suffix"),
        *("best_of", "id_slot", "n_probs", "verbose", "__verbose", "return_progress", "return_tokens"),
        *("timings_per_token", "response_fields", "max_completion_tokens"),
    }
)
# A stream can be stopped at any token. Progress chunks allow to stop the processing of a long prompt, and timings show
# the cost of a stopped request.
_ALWAYS: Body = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "return_progress": True,
    "timings_per_token": True,
}


@dataclass(frozen=True, slots=True)
class CompletionPlan:
    """The runs of llama.cpp for a request. ``top``: most alternatives in the logprobs of a token; None: no logprobs
    requested.

    ``prompts``: one, or as many as the client sent in one request (``/completions`` only; ``[None]`` for a chat).
    """

    stream: bool
    include_usage: bool
    choices: int
    top: int | None
    prompts: list[object]
    _body: Body
    _seed: int | None

    def requests(self) -> Iterator[str]:
        """The JSON request of every run: all choices of the first prompt, then of the next."""
        for prompt in self.prompts:
            for number in range(self.choices):
                request = dict(self._body)
                if prompt is not None:
                    request["prompt"] = prompt
                if self._seed is not None:
                    request["seed"] = (self._seed + number) % _SEEDS
                yield orjson.dumps(request).decode()


def chat_plan(body: Body, *, has_tools: bool) -> CompletionPlan:
    """The plan of a Chat Completions request. ``has_tools``: the template supports tools. Raises `EngineError`."""
    parsed = _checked(body, _Chat)
    _check_messages(parsed.messages)
    _check_format(parsed.response_format)
    if parsed.top_logprobs is not None and not parsed.logprobs:
        raise bad_request("top_logprobs needs logprobs to be true.", "top_logprobs")
    if not has_tools and parsed.tools and parsed.tool_choice not in (None, "auto", "none"):
        raise bad_request("This model's chat template has no tools, so no call can be forced.", "tool_choice")
    own: Body = {}
    if parsed.logprobs:
        own = {"logprobs": True, "top_logprobs": max(1, parsed.top_logprobs or 0)}
    if (limit := parsed.max_completion_tokens or parsed.max_tokens) is not None:
        own["max_tokens"] = limit
    return _plan(body, parsed, own, (parsed.top_logprobs or 0) if parsed.logprobs else None, [None])


def completion_plan(body: Body) -> CompletionPlan:
    """The plan of a Completions request. Raises `EngineError`."""
    parsed = _checked(body, _Completion)
    for name, value in (("echo", parsed.echo), ("suffix", parsed.suffix)):
        if value:
            raise bad_request(f"Local models do not do {name}.", name)
    if parsed.best_of is not None and parsed.best_of != (parsed.n or 1):
        raise bad_request("Local models do not choose among answers: leave best_of out.", "best_of")
    own: Body = {} if parsed.logprobs is None else {"logprobs": max(1, parsed.logprobs)}
    return _plan(body, parsed, own, parsed.logprobs, _prompts(parsed.prompt))


def _plan(body: Body, parsed: _Common, own: Body, top: int | None, prompts: list[object]) -> CompletionPlan:
    handed_on = {name: value for name, value in body.items() if value is not None and name not in _NOT_PASSED_ON}
    options = parsed.stream_options
    plan = CompletionPlan(
        stream=bool(parsed.stream),
        include_usage=bool(options and options.include_usage),
        choices=parsed.n or 1,
        top=top,
        prompts=prompts,
        _body={**handed_on, **own, **_ALWAYS},
        _seed=parsed.seed,
    )
    try:
        next(plan.requests())
    except TypeError:  # the depth limit of orjson; the recursive parser of llama.cpp has none
        raise bad_request("The request is nested too deeply.") from None
    return plan


def _prompts(prompt: str | list[str | int | list[int]]) -> list[object]:
    if prompt in ("", []):
        raise bad_request("The prompt must not be empty.", "prompt")
    if isinstance(prompt, str) or all(isinstance(item, int) for item in prompt):
        return [prompt]
    kinds = {type(item) for item in prompt}
    if len(kinds) > 1 or any(item in ("", []) for item in prompt):
        raise bad_request("The prompts must all be texts, or all be lists of tokens, and not empty.", "prompt")
    return list(prompt)


def _check_messages(messages: list[_ChatMessage]) -> None:
    for number, message in enumerate(messages):
        if message.content is None and message.role not in ("assistant", "tool", "function"):
            raise bad_request("The message has no content.", f"messages[{number}].content")
        for place, part in enumerate(message.content if isinstance(message.content, list) else ()):
            param = f"messages[{number}].content[{place}]"
            if part.type != "text":
                raise bad_request(f"This model reads text only, not parts of type {part.type!r}.", param)
            if part.text is None:
                raise bad_request("The part has no text.", param)


def _check_format(wanted: _Format | None) -> None:
    if wanted is None:
        return
    if wanted.type not in ("text", "json_object", "json_schema"):
        raise bad_request("The type must be text, json_object or json_schema.", "response_format.type")
    if wanted.type == "json_schema" and wanted.json_schema is None:
        raise bad_request("A format of type json_schema needs json_schema.", "response_format.json_schema")


_Shape = TypeVar("_Shape", bound=_Common)
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(\w+)`")


def _checked(body: Body, shape: type[_Shape]) -> _Shape:
    try:
        return msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        match = _PLACE.match(str(error))
        what, path = (match["what"], match["path"] or "") if match else (str(error), "")
        if missing := _MISSING.search(what):
            path = f"{path}.{missing[1]}".lstrip(".")
        raise bad_request(f"{what.replace('`', '')}.", path or None) from None
