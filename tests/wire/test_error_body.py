"""The error envelope: every kind of error has a complete, well-formed response."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest

from onwards_py.errors import ErrorKind, LimitState, ProxyError
from onwards_py.wire.error_body import error_response, format_duration


@pytest.mark.parametrize("kind", ErrorKind, ids=lambda kind: kind.name)
def test_every_kind_of_error_has_a_response(kind: ErrorKind) -> None:
    """The response has status, reason, type, code and message, and the length of its body."""
    status, reason, block, body = error_response(ProxyError(kind))
    assert (status, reason.decode()) == (kind.value.status, HTTPStatus(kind.value.status).phrase)
    assert b"Content-Length: %d\r\n" % len(body) in block
    error = json.loads(body)["error"]
    assert error == {
        "message": kind.value.message,
        "type": kind.value.type,
        "param": None,
        "code": kind.value.code,
    }
    assert block.endswith(b"\r\n")
    assert b"\r\n\r\n" not in block


def test_message_and_param_are_those_of_the_error() -> None:
    """All text is JSON-escaped, because it may quote a client's model name."""
    text = 'no "such"\r\nmodel \u2028 é'
    body = error_response(ProxyError(ErrorKind.MODEL_NOT_FOUND, text, param="model")).body
    assert json.loads(body)["error"]["message"] == text
    assert json.loads(body)["error"]["param"] == "model"
    assert b"\n" not in body


def test_only_401_carries_a_challenge() -> None:
    """RFC 9110 section 15.5.2."""
    carrying = [kind for kind in ErrorKind if b"WWW-Authenticate: " in error_response(ProxyError(kind)).block]
    assert carrying == [ErrorKind.UNAUTHENTICATED]


@pytest.mark.parametrize(("seconds", "told"), [(0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.01, b"2"), (59.5, b"60")])
def test_retry_after_is_rounded_up_to_whole_seconds(seconds: float, told: bytes) -> None:
    """RFC 9110 section 10.2.3: it has no fraction, and is never zero, which would cause many retries at once."""
    block = error_response(ProxyError(ErrorKind.RATE_LIMIT, retry_after=seconds)).block
    assert b"\r\nRetry-After: " + told + b"\r\n" in block


def test_no_retry_after_unless_it_is_known() -> None:
    """The proxy does not guess a time."""
    assert b"Retry-After" not in error_response(ProxyError(ErrorKind.RATE_LIMIT)).block


@pytest.mark.parametrize(
    ("state", "lines"),
    [
        (
            LimitState("requests", 60, 0, 360.0),
            b"X-RateLimit-Limit-Requests: 60\r\nX-RateLimit-Remaining-Requests: 0\r\n"
            b"X-RateLimit-Reset-Requests: 6m0s\r\n",
        ),
        (
            LimitState("tokens", 1000, 12, 1.2),
            b"X-RateLimit-Limit-Tokens: 1000\r\nX-RateLimit-Remaining-Tokens: 12\r\nX-RateLimit-Reset-Tokens: 1.2s\r\n",
        ),
        (
            LimitState("concurrent-requests", 4, 0),
            b"X-RateLimit-Limit-Concurrent-Requests: 4\r\nX-RateLimit-Remaining-Concurrent-Requests: 0\r\n",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, LimitState) else "",
)
def test_an_exceeded_limit_is_reported(state: LimitState, lines: bytes) -> None:
    """The fields are those of OpenAI. Without a known reset time there is no reset field."""
    block = error_response(ProxyError(ErrorKind.RATE_LIMIT, retry_after=1.0, limit=state)).block
    assert block.endswith(b"Retry-After: 1\r\n" + lines)
    assert b"X-RateLimit" not in error_response(ProxyError(ErrorKind.RATE_LIMIT)).block


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "0s"),
        (-1.0, "0s"),
        (0.0001, "1ms"),
        (0.02, "20ms"),
        (0.9999, "1s"),
        (1.2, "1.2s"),
        (8.6401, "8.641s"),
        (60.0, "1m0s"),
        (119.9999, "2m0s"),
        (360.5, "6m0.5s"),
        (3600.0, "1h0m0s"),
        (90061.0, "25h1m1s"),
    ],
)
def test_durations_are_written_as_openai_does(seconds: float, told: str) -> None:
    """They have Go's form, rounded up, so that a client that waits for that time is not early."""
    assert format_duration(seconds) == told
