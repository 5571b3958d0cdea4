"""Query parameters of the operator are joined with the client's, whose other bytes do not change."""

from __future__ import annotations

import pytest

from onwards_py.wire.query import Query, masked

VERSION = {"api-version": "2024-10-21"}


@pytest.mark.parametrize(
    ("parameters", "target", "asked"),
    [
        (VERSION, b"/x", b"/x?api-version=2024-10-21"),
        (VERSION, b"/x?", b"/x?api-version=2024-10-21"),
        (VERSION, b"/x?a=%zz&b=c+d&&e", b"/x?a=%zz&b=c+d&&e&api-version=2024-10-21"),
        (VERSION, b"/x?a=1&", b"/x?a=1&api-version=2024-10-21"),
        (VERSION, b"/x?api-version=old", b"/x?api-version=2024-10-21"),
        (VERSION, b"/x?api-version&a=api-version", b"/x?a=api-version&api-version=2024-10-21"),
        (VERSION, b"/x?api-version=1&a=1&api-version=2", b"/x?a=1&api-version=2024-10-21"),
        (VERSION, b"/x?api%2Dversion=1&API-Version=2&%61pi-version=3", b"/x?api-version=2024-10-21"),
        (VERSION, b"/x?xapi-version=1", b"/x?xapi-version=1&api-version=2024-10-21"),
        (VERSION, b"/x?a=?api-version=1", b"/x?a=?api-version=1&api-version=2024-10-21"),
        ({"a b": "1"}, b"/x?a+b=2&a%20b=3&ab=4", b"/x?ab=4&a%20b=1"),
        ({"k": "a b&c=d#e%f/\u00e9"}, b"/x", b"/x?k=a%20b%26c%3Dd%23e%25f/%C3%A9"),
        ({"a": "1", "flag": ""}, b"/x?b=2", b"/x?b=2&a=1&flag="),
    ],
)
def test_the_operators_parameters_win_and_others_are_untouched(
    parameters: dict[str, str], target: bytes, asked: bytes
) -> None:
    """Every spelling of a name that a server reads as the operator's is removed; plain text is encoded."""
    assert Query.of(parameters).apply_to(target) == asked


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/x", b"/x"),
        (b"/x?", b"/x?"),
        (b"/x?api-version=1&key=s3cret&flag", b"/x?api-version=1&key=***&flag"),
        (b"/x?a=b=c&api-version=2&=d", b"/x?a=***&api-version=2&=***"),
    ],
)
def test_values_that_may_be_secrets_are_masked(target: bytes, shown: bytes) -> None:
    """Only a few parameters are shown with their values."""
    assert masked(target) == shown
