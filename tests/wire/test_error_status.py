"""The status of an error inside an answer."""

from __future__ import annotations

import pytest

from onwards_py.wire.error_status import error_status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        # OpenAI
        ({"type": "requests", "code": "rate_limit_exceeded"}, 429),
        ({"type": "insufficient_quota", "code": "insufficient_quota"}, 429),
        ({"type": "invalid_request_error", "code": "context_length_exceeded"}, 400),
        ({"type": "invalid_request_error", "code": "model_not_found"}, 404),
        ({"type": "invalid_request_error", "code": "invalid_api_key"}, 401),
        ({"type": "invalid_request_error", "code": None, "param": "messages"}, 400),
        ({"type": "server_error", "code": "server_error"}, 500),
        # Anthropic
        ({"type": "overloaded_error"}, 503),
        ({"type": "authentication_error"}, 401),
        ({"type": "permission_error"}, 403),
        ({"type": "not_found_error"}, 404),
        ({"type": "request_too_large"}, 413),
        ({"type": "rate_limit_error"}, 429),
        ({"type": "billing_error"}, 402),
        ({"type": "timeout_error"}, 504),
        ({"type": "api_error"}, 500),
        # Google
        ({"code": 429, "status": "RESOURCE_EXHAUSTED"}, 429),
        ({"status": "UNAVAILABLE"}, 503),
        ({"status": "DEADLINE_EXCEEDED"}, 504),
        ({"status": "PERMISSION_DENIED"}, 403),
        ({"status": "UNAUTHENTICATED"}, 401),
        ({"status": "INVALID_ARGUMENT"}, 400),
        # Azure, OpenRouter, engines
        ({"code": "429"}, 429),
        ({"code": "content_filter"}, 400),
        ({"code": 529}, 529),
        ({"code": "too_many_requests"}, 429),
        ({"status_code": 502}, 502),
        ({"error": {"code": 401}}, 401),
        ({"error": {"code": 401}, "code": 503}, 401),
        ({"error": {"type": "overloaded_error"}, "type": "error"}, 503),
        # Numbers that are no such status, and what is no error object
        ({"code": 200}, 500),
        ({"code": 99999}, 500),
        ({"code": 400.0}, 500),
        ({"code": True}, 500),
        ({"code": "4291"}, 500),
        ({"code": "\u0664\u0660\u0660"}, 500),
        ({"code": ["rate_limit"]}, 500),
        ({}, 500),
        (None, 500),
        ([], 500),
        (7, 500),
        ("connection timed out", 504),
        ("x" * 100_000 + "timeout", 500),
    ],
)
def test_a_number_decides_before_the_codes(error: object, status: int) -> None:
    """Without a number, the most specific code decides. An unknown error is 500."""
    assert error_status(error) == status


def test_members_around_an_error_count_after_its_own() -> None:
    """A number beside the error object takes precedence over a code inside it, and the object's own number over
    both."""
    assert error_status({"type": "x"}, {"code": 503}) == 503
    assert error_status({"code": 429}, {"code": 503}) == 429
    assert error_status("no", {"code": "503"}) == 503
    assert error_status({"type": "rate_limit_error"}, {"status": "failed"}) == 429
