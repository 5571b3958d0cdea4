"""The error envelope: every kind has a whole, well-formed response."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest

from onwards_py.errors import Kind, ProxyError
from onwards_py.wire.error_body import error_response


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_every_kind_can_be_told(kind: Kind) -> None:
    """Status, reason, type, code and message; the length is that of the body."""
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
    """Any text is JSON-escaped: it may quote a client's model name."""
    text = 'no "such"\r\nmodel \u2028 é'
    body = error_response(ProxyError(Kind.MODEL_NOT_FOUND, text, param="model")).body
    assert json.loads(body)["error"]["message"] == text
    assert json.loads(body)["error"]["param"] == "model"
    assert b"\n" not in body


def test_only_401_carries_a_challenge() -> None:
    """RFC 9110 section 15.5.2."""
    carrying = [kind for kind in Kind if b"WWW-Authenticate: " in error_response(ProxyError(kind)).block]
    assert carrying == [Kind.UNAUTHENTICATED]


@pytest.mark.parametrize(("seconds", "told"), [(0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.01, b"2"), (59.5, b"60")])
def test_retry_after_is_rounded_up_to_whole_seconds(seconds: float, told: bytes) -> None:
    """RFC 9110 section 10.2.3: no fractions, and never zero, which would ask for a storm."""
    block = error_response(ProxyError(Kind.RATE_LIMIT, retry_after=seconds)).block
    assert b"\r\nRetry-After: " + told + b"\r\n" in block


def test_no_retry_after_unless_it_is_known() -> None:
    """A guess would be worse than nothing."""
    assert b"Retry-After" not in error_response(ProxyError(Kind.RATE_LIMIT)).block
