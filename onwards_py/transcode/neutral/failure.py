"""Converts errors of providers, in any shape, to a status with an envelope, or to the ``error`` of a failed response.

Messages of trusted providers are kept. From the errors of others, only the status and a code out of a closed set are
kept, and the message is the proxy's own, because theirs may contain keys, hosts and accounts of the operator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import assert_never

from onwards_py.messages import Ending
from onwards_py.transcode.neutral import lenient_json
from onwards_py.transcode.neutral.surrogates import well_formed
from onwards_py.wire.context_overflow import THROTTLED, is_context_overflow
from onwards_py.wire.error_codes import codes_in, is_bare_error
from onwards_py.wire.error_status import error_status

_LONGEST_MESSAGE = 8192
_BAD_GATEWAY = 502

# By these codes, clients decide whether to shorten the input, to wait or to stop (openai/codex, api error mapping).
_CODES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "insufficient_quota",
        # OpenAI; api-docs.deepseek.com/quick_start/error_codes, 2026-11;
        # openrouter.ai/docs/api/reference/errors-and-debugging, 2026-11
        re.compile(r"insufficient_quota|current quota|insufficient balance|insufficient credit", re.IGNORECASE),
    ),
    (
        "rate_limit_exceeded",
        # Bedrock; Gemini (continuedev/continue#10560, 2026-02);
        # Anthropic (platform.claude.com/docs/en/api/errors, 2026-09)
        re.compile(rf"{THROTTLED}|throttl|resource_exhausted|overloaded_error", re.IGNORECASE),
    ),
    (
        "invalid_prompt",
        # The sources are in `wire.error_codes`.
        re.compile(r"content.?policy|content_filter|content management policy|invalid_prompt", re.IGNORECASE),
    ),
)
_STATUS_OF_CODE = {
    "context_length_exceeded": 400,
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    "invalid_prompt": 400,
}
_CODE_OF_STATUS = {
    401: "invalid_api_key",
    403: "permission_denied",
    404: "model_not_found",
    413: "payload_too_large",
    429: "rate_limit_exceeded",
}
_STANDARD_MESSAGES = {
    "context_length_exceeded": "The input is longer than the model's context.",
    "insufficient_quota": "The provider's quota for this model is used up.",
    "rate_limit_exceeded": "The provider's rate limit was reached.",
    "invalid_prompt": "The provider's content policy refused the prompt.",
    "invalid_api_key": "The provider refused the credentials.",
    "permission_denied": "The provider refused the request.",
    "model_not_found": "The provider does not know the model.",
    "payload_too_large": "The request is too large for the provider.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure. ``status`` applies only before the response is committed; ``code`` and ``message`` always.

    ``provider_codes``: the provider's codes in lower case, including those that the client does not get.
    ``cut``: the ending of the body, if that is the failure; None: the provider reported an error, or its data are
    invalid.
    """

    status: int
    code: str
    message: str
    type: str = "server_error"
    param: str | None = None
    provider_codes: frozenset[str] = frozenset()
    cut: Ending | None = field(default=None, compare=False)

    @property
    def codes(self) -> frozenset[str]:
        """All codes of the failure, for decisions about other attempts: those of the provider, and the proxy's own."""
        return self.provider_codes | {self.code}

    def envelope(self) -> dict[str, object]:
        """The body of an HTTP error: all four keys, always."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}

    def error(self) -> dict[str, object]:
        """The ``error`` of a failed response."""
        return {"code": self.code, "message": self.message}


def cut_off(ending: Ending) -> Failure:
    """The failure of an answer that ended before it was complete."""
    match ending:
        case Ending.DONE:
            return Failure(_BAD_GATEWAY, "server_error", "The provider's answer ended without being whole.", cut=ending)
        case Ending.EOF | Ending.RESET:
            return Failure(_BAD_GATEWAY, "server_error", "The connection to the provider broke.", cut=ending)
        case Ending.IDLE:
            return Failure(504, "server_error", "The provider sent nothing for too long.", cut=ending)
        case Ending.LIMIT:
            return Failure(504, "server_error", "The provider's answer passed a limit of size or time.", cut=ending)
        case Ending.CLIENT_GONE:
            message = "The client left before the answer was whole."
            return Failure(499, "server_error", message, "invalid_request_error", cut=ending)
        case _:
            assert_never(ending)


def malformed(what: str) -> Failure:
    """The failure of a provider whose answer cannot be read; ``what`` completes "The provider sent ..."."""
    return Failure(_BAD_GATEWAY, "server_error", f"The provider sent {what}.")


def from_body(status: int, body: bytes, trusted: bool, retry_after: float | None = None) -> Failure:
    """The failure for an HTTP response of ``status`` (400 to 599). ``retry_after``: its Retry-After, in seconds."""
    try:
        value = lenient_json.loads(body)
    except ValueError:
        value = body.decode("utf-8", "replace").strip()
        if isinstance(value, str) and value.startswith("<"):
            value = None  # an HTML page
    return from_value(value, trusted, status=status, retry_after=retry_after)


def error_in(chunk: Mapping[str, object]) -> object:
    """The error in a chunk or a complete answer, in any shape; None if there is none."""
    error = chunk.get("error")
    if error:
        return chunk
    if "choices" in chunk:
        return None
    is_error = chunk.get("object") == "error" or chunk.get("type") == "error" or "detail" in chunk
    return chunk if is_error or ("message" in chunk and "code" in chunk) or is_bare_error(chunk) else None


def codes_of_error(value: object, status: int) -> frozenset[str]:
    """The codes of a decoded error with ``status``: its own, and the proxy's code for its message."""
    return from_value(value, False, status).codes


def from_value(value: object, trusted: bool, status: int | None = None, retry_after: float | None = None) -> Failure:
    """The failure for a decoded error; ``status``: that of the HTTP response, if it was not a success."""
    fields = _ErrorFields.of(value)
    status = status or fields.status
    code = _special_code(fields, status) or (
        fields.code if trusted and fields.code and not fields.code.isdigit() else None
    )
    if status is None:
        status = _STATUS_OF_CODE.get(code or "") or _status_of_error(value)
    code = code or _CODE_OF_STATUS.get(status) or ("invalid_request" if status < 500 else "server_error")
    message = fields.message if trusted and fields.message else _standard_message(code, status)
    if code == "rate_limit_exceeded" and retry_after is not None and "try again in" not in message.lower():
        message += f" Please try again in {retry_after:g}s."
    return Failure(
        status,
        code,
        message[:_LONGEST_MESSAGE],
        fields.type if trusted and fields.type else _type(status),
        fields.param if trusted else None,
        frozenset() if isinstance(value, str) else codes_in(value),
    )


def _status_of_error(value: object) -> int:
    """The status of an error inside an answer, as for native responses (`wire.error_status`); 502 if none follows."""
    status = error_status(value)
    return _BAD_GATEWAY if status == HTTPStatus.INTERNAL_SERVER_ERROR else status


def _special_code(fields: _ErrorFields, status: int | None) -> str | None:
    """The code for the error. Codes and types decide before messages: an error about a rate limit may have the message
    "too many tokens" (Bedrock), which then means tokens per minute."""
    names, messages = (fields.code, fields.type), (fields.message, fields.raw)
    for text, words in ((" ".join(names), (names, ())), ("\n".join(messages), ((), messages))):
        if status != 429 and is_context_overflow(*words):
            return "context_length_exceeded"
        for code, pattern in _CODES:
            if pattern.search(text) and not (status == 429 and _STATUS_OF_CODE[code] != 429):
                return code
    return None


def _standard_message(code: str, status: int) -> str:
    general = "The provider could not answer." if status >= 500 else "The provider refused the request."
    return _STANDARD_MESSAGES.get(code, general)


def _type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"


@dataclass(slots=True)
class _ErrorFields:
    """The fields of an error; empty if it has none."""

    message: str = ""
    code: str = ""
    type: str = ""
    param: str | None = None
    status: int | None = None
    raw: str = ""  # the original error, if the provider is a gateway that quotes it (OpenRouter)

    @classmethod
    def of(cls, value: object) -> _ErrorFields:
        fields = cls()
        for level in _levels(value):
            fields._add(level)
        return fields

    def _add(self, level: Mapping[str, object]) -> None:
        """Set the fields that are not set yet: inner levels come first."""
        code, param, status = level.get("code"), level.get("param"), level.get("status")
        self.message = self.message or _message(level)
        self.raw = self.raw or _raw(level)
        self.type = self.type or _string(level.get("type")) or _string(status)
        self.code = self.code or _string(code)
        self.param = self.param or _string(param) or None
        for number in (code, status, level.get("status_code")):
            if self.status is None and type(number) is int and 400 <= number < 600:
                self.status = number


def _levels(value: object) -> Iterator[Mapping[str, object]]:
    """The dictionaries that describe the error, from the innermost out; at most three levels."""
    nest: list[Mapping[str, object]] = []
    for _ in range(3):
        if isinstance(value, list):
            value = next((one for one in value if isinstance(one, dict)), None)
        if isinstance(value, str) and value:
            nest.append({"message": value})
        if not isinstance(value, dict):
            break
        nest.append(value)
        detail = value.get("detail")
        value = value.get("error") or value.get("errors") or (detail if isinstance(detail, dict) else None)
    yield from reversed(nest)


def _message(level: Mapping[str, object]) -> str:
    for name in ("message", "msg", "detail", "error_description", "reason"):
        text = level.get(name)
        if isinstance(text, list):
            text = "; ".join(_string(one.get("msg")) for one in text if isinstance(one, dict))
        if isinstance(text, str) and text:
            return well_formed(text)
    return ""


def _raw(level: Mapping[str, object]) -> str:
    metadata = level.get("metadata")
    return _string(metadata.get("raw")) if isinstance(metadata, dict) else ""


def _string(value: object) -> str:
    return well_formed(value) if isinstance(value, str) else ""
