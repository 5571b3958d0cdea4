"""Sealed blobs open for whom they were sealed, with any of the keys, and for nothing else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.sealing import Keyring

OLD, NEW = "an old secret of some length", "a new secret of some length"


@given(st.binary(max_size=200))
def test_what_was_sealed_opens_again(plain: bytes) -> None:
    """Byte for byte, through printable text."""
    sealer = Keyring([OLD]).sealer("a")
    sealed = sealer.seal(plain)
    assert sealed.isascii()
    assert sealed.isprintable()
    assert sealer.open(sealed) == plain


def test_no_two_blobs_are_alike() -> None:
    """A repeated nonce would give the plain text away."""
    sealer = Keyring([OLD]).sealer("a")
    assert sealer.seal(b"x") != sealer.seal(b"x")


def test_the_plain_text_is_not_in_the_blob() -> None:
    """Encrypted, not encoded."""
    sealed = Keyring([OLD]).sealer("a").seal(b"the plain text" * 10)
    assert b"plain" not in base64.urlsafe_b64decode(sealed.removeprefix("ow1."))


def test_keys_can_be_changed_without_a_break() -> None:
    """Blobs of the old key open while it is listed, the new one seals; then they are foreign."""
    old = Keyring([OLD]).sealer("a").seal(b"x")
    both = Keyring([NEW, OLD]).sealer("a")
    assert both.open(old) == b"x"
    assert Keyring([NEW]).sealer("a").open(both.seal(b"y")) == b"y"
    assert Keyring([NEW]).sealer("a").open(old) is None


def test_a_blob_is_nothing_to_another_audience() -> None:
    """One principal cannot read what another was given."""
    ring = Keyring([OLD])
    assert ring.sealer("b").open(ring.sealer("a").seal(b"x")) is None


def test_a_changed_blob_does_not_open() -> None:
    """Not in any of its bytes."""
    sealer = Keyring([OLD]).sealer("a")
    raw = base64.urlsafe_b64decode(sealer.seal(b"xyz").removeprefix("ow1."))
    for index in range(len(raw)):
        changed = raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]
        assert sealer.open("ow1." + base64.urlsafe_b64encode(changed).decode()) is None


@given(st.text(max_size=60) | st.text(max_size=60).map(lambda text: f"ow1.{text}"))
def test_anything_else_is_foreign_and_no_error(text: str) -> None:
    """Blobs come from clients."""
    assert Keyring([OLD]).sealer("a").open(text) is None


@pytest.mark.parametrize("secrets", [[], ["too short"], [OLD, ""]])
def test_secrets_have_to_be_there_and_long_enough(secrets: list[str]) -> None:
    """A guessed secret opens everything."""
    with pytest.raises(ValueError, match="secret"):
        Keyring(secrets)


def test_no_secret_shows_in_a_repr() -> None:
    """Neither of the ring nor of what it makes."""
    ring = Keyring([OLD])
    assert OLD not in repr(ring) + repr(ring.sealer("a")) + repr(ring._keys)
