"""A Responses request to a Chat Completions request: the one entrance of the request side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from onwards_py.transcode.chat.shapes import Message
from onwards_py.transcode.chat.write_messages import to_messages
from onwards_py.transcode.neutral.call_ids import CallIds
from onwards_py.transcode.neutral.context import Context
from onwards_py.transcode.neutral.policy import InvalidRequest, Policy, TranslationContext, must_be_string, name_of
from onwards_py.transcode.neutral.quirks import Quirks
from onwards_py.transcode.responses.read_fields import (
    add_extras,
    check_server_side,
    check_types,
    include_of,
    plain_fields,
)
from onwards_py.transcode.responses.read_format import Format, read_format
from onwards_py.transcode.responses.read_items import ItemReader
from onwards_py.transcode.responses.read_tool_choice import Choice, read_choice
from onwards_py.transcode.responses.read_tools import ToolSet, read_tools
from onwards_py.transcode.responses.request_echo import choose_profile, make_echo
from onwards_py.transcode.responses.tool_search import OUTPUT


@dataclass(frozen=True, slots=True)
class Translated:
    """``chat``: the provider's request. ``context``: what the answer needs.

    ``dropped``: paths that do not reach the provider, without indexes, each once.
    """

    chat: dict[str, object]
    context: Context
    dropped: tuple[str, ...] = ()


def to_chat(request: Mapping[str, object], quirks: Quirks, policy: Policy) -> Translated:
    """Translate a request (parsed JSON). Raises InvalidRequest with the path of what cannot be translated."""
    scope = TranslationContext(quirks, policy)
    must_be_string(request.get("model"), "model")
    check_types(request)
    check_server_side(request, scope)
    offered = chain([(request.get("tools"), "tools")], _tool_lists(request, "additional_tools"))
    offer = read_tools(offered, scope, _tool_lists(request, OUTPUT))
    choice = read_choice(request.get("tool_choice"), offer, scope)
    work = _Translation(request, scope, offer, choice, read_format(request, scope))
    chat = work.chat()
    return Translated(chat, work.context(), tuple(scope.dropped))


class _Translation:
    """One request with its tools, choice and format read; what remains is to put the two results together."""

    def __init__(
        self, request: Mapping[str, object], scope: TranslationContext, offer: ToolSet, choice: Choice, form: Format
    ) -> None:
        self._request = request
        self._scope = scope
        self._offer = offer
        self._choice = choice
        self._form = form
        self._include = include_of(request)
        self._call_ids = CallIds(scope.quirks.short_call_ids)

    def chat(self) -> dict[str, object]:
        """The provider's request. Raises InvalidRequest."""
        scope = self._scope
        chat: dict[str, object] = {"model": self._request["model"], "messages": self._messages()}
        chat.update(plain_fields(self._request, self._include, scope))
        self._add_tools(chat)
        if self._form.response_format is not None:
            if self._choice.forced:
                scope.drop("text.format")  # the answer is a call; held to a schema it could not be one
            else:
                chat["response_format"] = self._form.response_format
        add_extras(self._request, chat, scope)
        return chat

    def context(self) -> Context:
        """What the answer needs."""
        request, policy = self._request, self._scope.policy
        profile = policy.profile or choose_profile(request)
        options = request.get("stream_options")
        return Context(
            echo=make_echo(request, self._offer, self._choice.echo, self._form, profile=profile, stores=policy.stores),
            quirks=self._scope.quirks,
            profile=profile,
            tools=self._offer.names.by_chat_name,
            allowed=self._choice.allowed,
            one_call=request.get("parallel_tool_calls") is False,
            call_ids=self._call_ids.by_chat_id,
            include=self._include,
            wants_stream=request.get("stream") is True,
            obfuscation=isinstance(options, dict) and options.get("include_obfuscation") is True,
            summary=_summary(request.get("reasoning")),
            phased=policy.phased or self._phased(),
            sealer=policy.sealer,
            origin=policy.origin,
        )

    def _phased(self) -> bool:
        """Whether the request shows that its client knows phases: Codex's own field, or a phase that came back."""
        given = self._request.get("input")
        items = given if isinstance(given, list) else ()
        return "client_metadata" in self._request or any(isinstance(one, dict) and one.get("phase") for one in items)

    def _messages(self) -> list[Message]:
        request, scope = self._request, self._scope
        previous = request.get("previous_response_id")
        if previous:
            message = f"Previous response with id {previous!r} not found."
            raise InvalidRequest("previous_response_id", message, "previous_response_not_found")
        items = _items(request.get("input"))
        if len(items) > scope.policy.max_items:
            raise InvalidRequest("input", f"More than {scope.policy.max_items} items.", "array_above_max_length")
        reader = ItemReader(scope, self._offer.names, self._call_ids)
        reader.read_all(items)
        reader.conversation.end()
        form = "" if self._choice.forced else self._form.prompt
        instructions = "\n\n".join(filter(None, (str(request.get("instructions") or ""), form)))
        messages = to_messages(instructions, reader.conversation, scope)
        if not messages:
            raise InvalidRequest("input", "There is nothing to answer: give 'input'.", "missing_required_parameter")
        return messages

    def _add_tools(self, chat: dict[str, object]) -> None:
        """Tools and what goes only with them: providers refuse a choice, or a word on parallel calls, without tools."""
        if not self._choice.tools:
            return
        chat["tools"] = self._choice.tools
        if self._choice.value is not None:
            chat["tool_choice"] = self._choice.value
        parallel = self._request.get("parallel_tool_calls")
        if parallel is not None and self._scope.quirks.parallel_tool_calls:
            chat["parallel_tool_calls"] = parallel


def _tool_lists(request: Mapping[str, object], kind: str) -> Iterator[tuple[object, str]]:
    """The lists of tools, with their paths, that items of this ``kind`` offer in the middle of the conversation."""
    given = request.get("input")
    for index, item in enumerate(given if isinstance(given, list) else (given,)):
        if isinstance(item, dict) and "tools" in item and item.get("type") == kind:
            yield item["tools"], f"input[{index}].tools"


def _items(given: object) -> list[object]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if given is None:
        return []
    if isinstance(given, dict):  # one item without its array
        return [given]
    if not isinstance(given, list):
        raise InvalidRequest("input", f"'input' must be a string or an array, not {name_of(given)}.", "invalid_type")
    return given


def _summary(reasoning: object) -> str | None:
    if not isinstance(reasoning, dict):
        return None
    summary = reasoning.get("summary", reasoning.get("generate_summary"))
    return summary if isinstance(summary, str) else None
