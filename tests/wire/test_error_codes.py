"""The search for texts of a content refusal, so that most errors need not be parsed."""

from __future__ import annotations

import json

import pytest

from onwards_py.transcode.neutral.failure import from_body
from onwards_py.wire.error_codes import CONTENT_FILTER_CODES, may_be_refusal


@pytest.mark.parametrize("code", sorted(CONTENT_FILTER_CODES))
def test_every_code_of_a_refusal_is_found(code: str) -> None:
    """The code may be in any case, with any character escaped."""
    body = json.dumps({"error": {"code": code, "message": "no"}}).encode()
    assert may_be_refusal(body)
    assert may_be_refusal(body.upper())
    escaped = "".join(f"\\u{ord(character):04x}" for character in code)
    assert may_be_refusal(b'{"error":{"code":"' + escaped.encode() + b'"}}')


@pytest.mark.parametrize("text", ["violates our Content Policy", "content management policy", "invalid_prompt"])
def test_a_text_that_means_a_refusal_is_found(text: str) -> None:
    """The texts are those that `from_body` reads as invalid_prompt."""
    body = json.dumps({"error": {"message": text}}).encode()
    assert not CONTENT_FILTER_CODES.isdisjoint(from_body(400, body, trusted=False).codes)
    assert may_be_refusal(body)


@pytest.mark.parametrize(
    "body", [b"", b'{"error":{"message":"overloaded","code":503}}', b"<html>502 Bad Gateway</html>"]
)
def test_an_overload_error_is_not_a_refusal(body: bytes) -> None:
    """The error need not be parsed."""
    assert not may_be_refusal(body)
