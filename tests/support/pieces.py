"""Bytes and texts in pieces, as they may arrive."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import AnyStr


def cut_at(data: AnyStr, places: Iterable[int], *, empty: bool = False) -> list[AnyStr]:
    """``data`` cut at ``places``, taken modulo its length; with ``empty``, a place that comes twice makes an empty
    piece."""
    inner: list[int] = [place % (len(data) + 1) for place in places]
    edges = sorted([0, *inner, len(data)] if empty else {0, *inner, len(data)})
    return [data[start:end] for start, end in pairwise(edges)]


def single_bytes(data: bytes) -> list[bytes]:
    """The hardest cut: every byte in a piece of its own."""
    return [data[at : at + 1] for at in range(len(data))]
