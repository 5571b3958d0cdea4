"""The operator's policy on unsupported parts of a request: reject them, or drop and list them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Annotated

from onwards_py.setting import Setting
from onwards_py.transcode.neutral.context import Profile, Sealer
from onwards_py.transcode.neutral.quirks import Quirks

_INDEX = re.compile(r"\[\d+\]")
_LAST_STEP = re.compile(r"(?:\.[^.\[]*|\[\])\Z")

NO_OUTPUT = "No output: the call was interrupted."
"""The output that `Unanswered.SYNTHESIZE` creates for a call without one."""

DEFAULT_KEY = "default"
UNSUPPORTED = frozenset(
    {
        *("audio", "background", "context_management", "conversation", "history", "include", "input", "logit_bias"),
        *("logprobs", "messages", "modalities", "n", "prompt", "response_format", "seed", "stop", "store", "text"),
        *("tool_choice", "top_logprobs"),
    }
)
"""The top-level fields to which ``on_unsupported`` applies, in either direction."""


class OnUnsupported(Enum):
    """What happens to a part of a request that the provider's API cannot express (``on_unsupported``)."""

    REJECT = "reject"
    DROP = "drop"


class HostedTools(Enum):
    """What happens to tools that a server would have to run (web_search, file_search, mcp, ...)."""

    REJECT = "reject"
    BESIDE = "beside"  # dropped if other tools remain; rejected if the request offers no other tools
    DROP = "drop"
    PASS = "pass"  # sent unchanged, for providers that support them


class Orphans(Enum):
    """What happens to a tool's output without a call in the input."""

    REJECT = "reject"
    REPAIR = "repair"  # the text becomes a user message


class Unanswered(Enum):
    """What happens to a call without an output, as after an interruption."""

    SYNTHESIZE = "synthesize"
    """The call gets the output `NO_OUTPUT`, because providers reject calls without an output."""
    DROP = "drop"
    REJECT = "reject"


class ForeignReasoning(Enum):
    """What happens to ``encrypted_content`` that this proxy did not seal."""

    SKIP = "skip"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's decisions, and facts about the client and the provider of one request."""

    on_unsupported: OnUnsupported = OnUnsupported.REJECT
    unsupported: Mapping[str, OnUnsupported] = field(default_factory=lambda: MappingProxyType({}))
    """Overrides ``on_unsupported`` for single members, by their paths without indexes (``stop``,
    ``input[].content[].file_id``) or by the beginning of these."""
    hosted_tools: Annotated[HostedTools, Setting("Tools that run on a server: reject, beside, drop or pass.")] = (
        HostedTools.BESIDE
    )
    orphans: Annotated[Orphans, Setting("Tool outputs without their call: reject or repair.")] = Orphans.REJECT
    unanswered: Annotated[Unanswered, Setting("Calls without their output: synthesize, drop or reject.")] = (
        Unanswered.SYNTHESIZE
    )
    foreign_reasoning: Annotated[ForeignReasoning, Setting("encrypted_content from other servers: skip or reject.")] = (
        ForeignReasoning.SKIP
    )
    profile: Profile | None = None
    """The schema of the client; None: the fields and tools of the request decide."""
    sealer: Sealer | None = None
    """Encrypts and decrypts ``encrypted_content``."""
    origin: str = ""
    """The provider's name in sealed reasoning. Opaque reasoning is sent back only to the provider that created it,
    because others would reject it in every later request of the conversation. Empty: no origin is stored, and all
    reasoning is sent back."""
    stores: bool = False
    """The proxy stores responses, so ``store: true`` is accepted."""
    phased: bool = False
    """The client understands the phases of messages; if false, the request decides."""
    max_items: int = 50_000
    max_tools: int = 4_096
    max_part: int = 64 * 1024 * 1024
    """Maximum characters of one inline image, file or sound."""


class InvalidRequest(Exception):
    """The request cannot be translated: a 400 in the client's API.

    ``param`` is the path of the member at fault, such as ``input[3].content[0].file_id``; ``code`` is for programs.
    """

    def __init__(self, param: str, message: str, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.message = message
        self.code = code


@dataclass(slots=True)
class TranslationContext:
    """The state of one translation: its policy and quirks, and the list of dropped parts.

    ``dropped`` is an ordered set of paths without indexes (``input[].phase``): its size depends on the kinds of loss,
    not on the length of the conversation.
    """

    quirks: Quirks
    policy: Policy
    dropped: dict[str, None] = field(default_factory=dict)

    def drop(self, param: str) -> None:
        """Record that ``param`` is not sent to the provider."""
        if param not in self.dropped:
            self.dropped[_INDEX.sub("[]", param)] = None

    def unsupported(self, param: str, message: str) -> None:
        """Reject or drop ``param``, by the policy for this member, for a member that contains it, or for all members.

        Raises InvalidRequest.
        """
        if self._decision(param) is OnUnsupported.REJECT:
            raise InvalidRequest(param, message, "unsupported_value")
        self.drop(param)

    def _decision(self, param: str) -> OnUnsupported:
        by_key = self.policy.unsupported
        path = _INDEX.sub("[]", param) if by_key else ""
        while path:
            if path in by_key:
                return by_key[path]
            shorter = _LAST_STEP.sub("", path)
            path = shorter if shorter != path else ""
        return self.policy.on_unsupported


def wrong_type(param: str, expected: str, value: object) -> InvalidRequest:
    """The error for a ``value`` that is not of the ``expected`` type, such as "a string"."""
    return InvalidRequest(param, f"'{param}' must be {expected}, not {name_of(value)}.", "invalid_type")


def must_be_object(value: object, param: str, what: str) -> dict[str, object]:
    """``value`` if it is an object; ``what`` names it in the error. Raises InvalidRequest."""
    if not isinstance(value, dict):
        raise InvalidRequest(param, f"{what} must be an object, not {name_of(value)}.", "invalid_type")
    return value


def nested(owner: Mapping[str, object], name: str) -> Mapping[str, object]:
    """The object under ``name``, else ``owner``: chat nests in one what other APIs have side by side."""
    inner = owner.get(name)
    return inner if isinstance(inner, dict) else owner


def check_count(values: Sized, limit: int, param: str, what: str) -> None:
    """``values``, of which ``what`` is the plural, are not more than ``limit``. Raises InvalidRequest."""
    if len(values) > limit:
        raise InvalidRequest(param, f"More than {limit} {what}.", "array_above_max_length")


def name_of(value: object) -> str:
    """A JSON value's type, in JSON's words."""
    if value is None:
        return "null"
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), "something else")


def member(owner: Mapping[str, object], name: str, where: str) -> str:
    """The non-empty string that ``owner``, whose path is ``where``, holds under ``name``. Raises InvalidRequest."""
    value = owner.get(name)
    return value if type(value) is str and value else must_be_string(value, f"{where}.{name}")


def must_be_string(value: object, param: str) -> str:
    """``value`` if it is a non-empty string. Raises InvalidRequest."""
    if not isinstance(value, str):
        raise wrong_type(param, "a string", value)
    if not value:
        raise InvalidRequest(param, f"'{param}' must not be empty.")
    return value
