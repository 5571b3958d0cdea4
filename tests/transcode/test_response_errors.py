"""Providers' errors keep their status; their words reach the client only from a provider that is trusted."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.messages import Ending
from onwards_py.transcode.neutral.failure import Failure, cut_off, from_body, from_value

SHAPES = [
    {"error": {"message": "secret", "type": "t", "param": "p", "code": "c"}},
    {"error": "secret"},
    {"message": "secret", "type": "t"},
    {"detail": "secret"},
    {"detail": [{"loc": ["body"], "msg": "secret"}]},
    {"errors": [{"message": "secret"}]},
    [{"error": {"code": 400, "message": "secret", "status": "INVALID_ARGUMENT"}}],
    {"object": "error", "message": "secret", "code": 40303},
    {"error": {"error": {"message": "secret"}}},
    "secret",
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "status", "detail", "x"]), inner, max_size=4
        )
    ),
)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("status", [400, 500])
def test_the_message_is_found_in_every_shape_and_kept_from_the_client_without_trust(shape: object, status: int) -> None:
    body = json.dumps(shape).encode() if not isinstance(shape, str) else shape.encode()
    trusted, untrusted = from_body(status, body, True), from_body(status, body, False)
    assert (trusted.status, trusted.message) == (status, "secret")
    assert untrusted.status == status
    assert "secret" not in json.dumps(untrusted.envelope())


def test_an_envelope_has_all_four_keys_and_a_trusted_provider_fills_them() -> None:
    failure = from_body(400, json.dumps(SHAPES[0]).encode(), True)
    assert failure.envelope() == {"error": {"message": "secret", "type": "t", "param": "p", "code": "c"}}
    assert failure.error() == {"code": "c", "message": "secret"}


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        ({"code": "context_length_exceeded"}, "context_length_exceeded", 400),
        ({"message": "This model's maximum context length is 8192 tokens"}, "context_length_exceeded", 400),
        ({"message": "prompt is too long: 9 > 8", "type": "invalid_request_error"}, "context_length_exceeded", 400),
        (
            {"type": "exceed_context_size_error", "message": "exceeds the available context size"},
            "context_length_exceeded",
            400,
        ),
        ({"message": "You exceeded your current quota", "type": "insufficient_quota"}, "insufficient_quota", 429),
        ({"message": "Rate limit reached"}, "rate_limit_exceeded", 429),
        ({"code": 429, "message": "slow down"}, "rate_limit_exceeded", 429),
        ({"status": "RESOURCE_EXHAUSTED"}, "rate_limit_exceeded", 429),
        ({"code": "content_filter"}, "invalid_prompt", 400),
    ],
)
def test_G5_codes_by_which_clients_decide_are_told_with_and_without_trust(
    error: dict[str, object], code: str, status: int, trusted: bool
) -> None:
    failure = from_value({"error": error}, trusted)
    assert (failure.code, failure.status) == (code, status)


def test_G5_a_rate_limit_says_when_to_come_back() -> None:
    assert from_body(429, b"", False, 7.0).message.endswith("Please try again in 7s.")


@pytest.mark.parametrize(
    ("status", "code", "type_"),
    [
        (400, "invalid_request", "invalid_request_error"),
        (401, "invalid_api_key", "invalid_request_error"),
        (404, "model_not_found", "invalid_request_error"),
        (429, "rate_limit_exceeded", "rate_limit_error"),
        (503, "server_error", "server_error"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"\xff", b"null", b"[]"])
def test_a_body_that_tells_nothing_leaves_the_status_to_speak(status: int, code: str, type_: str, body: bytes) -> None:
    failure = from_body(status, body, False)
    assert (failure.status, failure.code, failure.type) == (status, code, type_)


def test_a_page_for_people_is_no_message() -> None:
    assert "html" not in from_body(502, b"<html>nginx</html>", True).message


@pytest.mark.parametrize("ending", Ending)
def test_every_ending_has_a_failure(ending: Ending) -> None:
    failure = cut_off(ending)
    assert 499 <= failure.status < 600
    assert failure.code == "server_error"


@given(ANYTHING, st.booleans(), st.sampled_from([None, 400, 429, 503]))
def test_any_error_gives_a_status_a_code_and_a_message(value: object, trusted: bool, status: int | None) -> None:
    failure = from_value(value, trusted, status=status)
    assert isinstance(failure, Failure)
    assert 400 <= failure.status < 600
    assert failure.code
    assert failure.message


@given(st.binary(max_size=200), st.booleans())
def test_any_body_gives_an_envelope(body: bytes, trusted: bool) -> None:
    assert set(from_body(500, body, trusted).envelope()["error"]) == {"message", "type", "param", "code"}  # type: ignore[call-overload]
