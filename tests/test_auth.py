"""From header values to a principal."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.auth import ANONYMOUS, Principal, identify, token_of
from onwards_py.model.pool import KeyDefinition

ALICE = KeyDefinition("alice")
DEFINITIONS = {sha256(b"sk-a").digest(): ALICE}


@pytest.mark.parametrize(
    ("authorization", "api_key", "token"),
    [
        (b"Bearer sk", None, b"sk"),
        (b"bearer sk", None, b"sk"),
        (b"BEARER   sk  ", None, b"sk"),
        (b"Bearer two words", None, b"two words"),
        (None, b"sk", b"sk"),
        (None, b"  sk ", b"sk"),
        (b"Bearer a", b"b", b"a"),
        (b"Basic a", b"b", b"b"),
        (b"Bearer ", b"b", b"b"),
        (None, None, None),
        (None, b"", None),
        (None, b"  ", None),
        (b"", None, None),
        (b"Bearer", None, None),
        (b"Bearer  ", None, None),
        (b"Bearersk", None, None),
        (b"Basic sk", None, None),
        (b"sk", None, None),
        (b"Bearer\tsk", None, None),
        (b" ", b" ", None),
        (b"Bearer sk, Bearer sk", None, b"sk, Bearer sk"),
        (b"Bearer \xff\xfe", None, b"\xff\xfe"),
        (b"bEARER " + b"k" * 8192, None, b"k" * 8192),
        (b"Bearer a", b"", b"a"),
        (b"Basic a", b"", None),
    ],
)
def test_which_token_is_presented(authorization: bytes | None, api_key: bytes | None, token: bytes | None) -> None:
    """The Bearer scheme in any case (RFC 9110 section 11.1), else an API key header; empty is none."""
    assert token_of(authorization, api_key) == token


def test_a_defined_token_has_its_definition_and_another_has_none() -> None:
    """Logs show the id of a definition, never a token."""
    assert identify(b"Bearer sk-a", None, DEFINITIONS) == Principal(sha256(b"sk-a").digest(), ALICE)
    assert identify(b"Bearer sk-b", None, DEFINITIONS).definition is None
    assert identify(None, None, DEFINITIONS) is ANONYMOUS
    assert ANONYMOUS.digest is None


@given(st.binary(min_size=1, max_size=40))
def test_the_token_stays_out_of_every_repr(token: bytes) -> None:
    """What is printed by accident must not hold it."""
    principal = identify(b"Bearer " + token, None, DEFINITIONS)
    if len(token.strip()) > 3:
        assert repr(token.strip())[2:-1] not in repr(principal)


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_only_the_same_token_is_the_same_principal(one: bytes, other: bytes) -> None:
    """No prefix, no folding."""
    first, second = identify(b"Bearer x" + one, None, {}), identify(b"Bearer x" + other, None, {})
    assert (first == second) is ((b"x" + one).strip() == (b"x" + other).strip())
