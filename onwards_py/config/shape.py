"""Base classes of shapes: the mappings of the file, as types."""

from __future__ import annotations

from typing import Annotated, ClassVar, Generic, TypeVar

from msgspec import Meta, Struct

T = TypeVar("T")

Count = Annotated[int, Meta(ge=1, le=2**53)]
Number = Annotated[int, Meta(ge=0, le=2**53)]


class Shape(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all shapes. Unknown keys are errors; an absent key and ``null`` are both None.

    ``one_of``: exactly one of these keys must be given (empty: no such rule). ``flattened``: groups of settings
    (`onwards_py.setting`) whose keys are among those of this shape. ``merged_by_key``: a nearer level inherits the
    keys that it does not set; otherwise the nearest value counts as a whole.
    """

    one_of: ClassVar[tuple[str, ...]] = ()
    flattened: ClassVar[tuple[type, ...]] = ()
    merged_by_key: ClassVar[bool] = False


class Settings(Shape, Generic[T], frozen=True, kw_only=True):
    """The mapping of one group of settings, ``T``; the keys come from the group (`config.setting_shapes`)."""


class Toggleable(Settings[T], Generic[T], frozen=True, kw_only=True):
    """A group that is enabled if it is given, and that a nearer level can disable with ``enabled: false``."""

    enabled: Annotated[bool | None, Meta(description="false disables an inherited value. Default: true.")] = None
