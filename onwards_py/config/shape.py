"""What every shape of the file is made of."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=1, le=2**53)]
Number = Annotated[int, Meta(ge=0, le=2**53)]


class Shape(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all: unknown keys are errors. ``one_of``: one of these keys must be given (empty: none need be)."""

    one_of: ClassVar[tuple[str, ...]] = ()
