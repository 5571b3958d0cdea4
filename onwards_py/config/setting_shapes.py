"""From declarations of settings to the keys that a file may hold, and from explicit keys back to compiled values.

See `onwards_py.setting` for how a setting is declared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec
import msgspec.inspect as mi
from msgspec import Meta

from onwards_py.config.scalars import (
    Duration,
    ErrorCode,
    HeaderName,
    HostPattern,
    JsonObject,
    ListenHost,
    RequestPath,
    Size,
    StatusPattern,
    Timeout,
)
from onwards_py.config.shape import Settings, Shape, Toggleable
from onwards_py.setting import Setting, ValueKind

S = TypeVar("S", bound=Shape)
T = TypeVar("T")
Accepted = Any
"""A type for msgspec, with bounds; it is created at run time."""

_LARGEST_INT: Final = 2**53  # JSON numbers up to this are exact (RFC 8259 section 6)
_UNITS: Final = ("GiB", "MiB", "KiB")
_SUFFIXES: Final = ("Settings", "Policy")


@dataclass(frozen=True, slots=True)
class _Codec:
    """``accepted``: the type that the decoder reads; ``compiled`` converts it to the value of the field."""

    accepted: Accepted
    compiled: Callable[[Any], object]


_CODECS: Final[Mapping[ValueKind, _Codec]] = {
    ValueKind.DURATION: _Codec(Duration, float),
    ValueKind.TIMEOUT: _Codec(Timeout, float),
    ValueKind.MILLISECONDS: _Codec(Annotated[int, Meta(ge=0, le=86_400_000)], lambda count: count / 1000),
    ValueKind.SIZE: _Codec(Size, int),
    ValueKind.LISTEN_HOST: _Codec(ListenHost, str),
    ValueKind.HOST_PATTERNS: _Codec(list[HostPattern], lambda names: tuple(map(str, names))),
    ValueKind.HEADER_NAMES: _Codec(list[HeaderName], lambda names: tuple(name.lower().encode() for name in names)),
    ValueKind.REQUEST_PATH: _Codec(RequestPath, lambda path: path.encode()),
    ValueKind.STATUSES: _Codec(list[StatusPattern], lambda patterns: frozenset[int]().union(*patterns)),
    ValueKind.ERROR_CODES: _Codec(list[ErrorCode], lambda codes: frozenset(code.lower() for code in codes)),
}


@dataclass(frozen=True, slots=True)
class _SettingField:
    """A setting, with the facts that are derived from its field."""

    field: str
    key: str
    accepted: Accepted
    described: Meta
    required: bool
    compiled: Callable[[Any], object]


def shape_class(shape: type[S]) -> type[S]:
    """``shape`` with the keys of its groups of settings, as the decoder reads it and the JSON Schema describes it."""
    return cast("type[S]", _shape_class(shape))


def struct_type(kind: mi.StructType) -> mi.StructType:
    """``kind`` as msgspec describes it, with the keys of groups of settings."""
    return _struct_type(kind.cls)


def settings_of(group: type[T]) -> Settings[T]:
    """An empty mapping of ``group``, which must not have required keys."""
    return cast("Settings[T]", _shape_class(Settings[group])())  # type: ignore[valid-type]


def explicit(shape: Shape | None, group: type | None = None) -> dict[str, Any]:
    """Compiled values of the settings that ``shape`` sets, by the names of the group's fields.

    ``group``: a group of the shape; None: its first group.
    """
    if shape is None:
        return {}
    values = {}
    for declared in _declared(group or shape.flattened[0]):
        value = getattr(shape, declared.key, None)
        if value is not None:
            values[declared.field] = declared.compiled(value)
    return values


def keys_of(group: type) -> list[str]:
    """The keys of ``group`` in the file."""
    return [declared.key for declared in _declared(group)]


def build(shape: Settings[T], **others: object) -> T:
    """The group with the values that ``shape`` sets and its own defaults. ``others``: fields that are not settings."""
    return cast("T", shape.flattened[0](**{**others, **explicit(shape)}))


def build_if_enabled(shape: Toggleable[T] | None) -> T | None:
    """The group, or None if it is absent or disabled."""
    return None if shape is None or shape.enabled is False else build(shape)


@cache
def _struct_type(shape: type) -> mi.StructType:
    outline = mi.type_info(_shape_class(shape))
    assert isinstance(outline, mi.StructType)
    return outline


@cache
def _shape_class(shape: Any) -> type[Shape]:
    base = get_origin(shape)
    if base is not None:
        (group,) = get_args(shape)
        names = {"flattened": (group,), "merged_by_key": getattr(group, "merged_by_key", False)}
        return _derived(_group_name(group), base, (group,), {**names, "__doc__": _first_paragraph(group)})
    if not shape.flattened or shape.__dict__.get("is_derived"):
        return cast("type[Shape]", shape)
    return _derived(shape.__name__, shape, shape.flattened, {"__doc__": shape.__doc__})


def _derived(name: str, base: type, groups: tuple[type, ...], namespace: dict[str, object]) -> type[Shape]:
    keys: list[Any] = []
    for declared in (one for group in groups for one in _declared(group)):
        # A group that can be disabled has no required keys.
        if declared.required and not issubclass(base, Toggleable):
            keys.append((declared.key, Annotated[declared.accepted, declared.described]))
        else:
            keys.append((declared.key, Annotated[declared.accepted | None, declared.described], None))
    made = msgspec.defstruct(
        name,
        keys,
        bases=(base,),
        module=__name__,
        namespace={**namespace, "is_derived": True},
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return cast("type[Shape]", made)


def _group_name(group: type) -> str:
    name = group.__name__
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return f"{name}Shape"


def _first_paragraph(group: type) -> str:
    return (group.__doc__ or "").partition("\n\n")[0]


@cache
def _declared(group: type) -> tuple[_SettingField, ...]:
    hints = get_type_hints(group, include_extras=True)
    return tuple(
        _declare(field, get_args(hints[field.name])[0], setting, shows_default=getattr(group, "shows_defaults", True))
        for field in fields(group)
        for setting in getattr(hints[field.name], "__metadata__", ())
        if isinstance(setting, Setting)
    )


def _declare(field: Field[Any], type_: Any, setting: Setting, *, shows_default: bool) -> _SettingField:
    codec = _codec_of(_without_none(type_), setting, optional=NoneType in get_args(type_))
    default = _default_text(field, setting) if shows_default else setting.default
    description = f"{setting.description} Default: {default}." if default else setting.description
    return _SettingField(
        field=field.name,
        key=setting.key or field.name,
        accepted=codec.accepted,
        described=Meta(description=description),
        required=field.default is MISSING and field.default_factory is MISSING,
        compiled=(lambda value: codec.compiled(value) or None) if setting.zero_is_none else codec.compiled,
    )


def _without_none(type_: Any) -> Any:
    if get_origin(type_) not in (Union, UnionType):
        return type_
    return Union[tuple(member for member in get_args(type_) if member is not NoneType)]  # noqa: UP007


def _codec_of(type_: Any, setting: Setting, *, optional: bool) -> _Codec:
    """The codec of ``type_``; ``optional``: the field may be None, so that a group can be disabled."""
    if setting.kind is not None:
        return _CODECS[setting.kind]
    origin, arguments = get_origin(type_), get_args(type_)
    if origin in (tuple, frozenset):
        item = _codec_of(arguments[0], setting, optional=False)
        make: Callable[[Any], object] = origin
        return _Codec(_list_of(item.accepted), lambda values: make(map(item.compiled, values)))
    if origin is Mapping:
        if arguments[1] is object:
            return _Codec(JsonObject, lambda value: MappingProxyType(dict(value.value)))
        return _Codec(dict[str, str], dict)
    if setting.choices:
        return _Codec(Literal[setting.choices], _same)
    if type_ in (int, float):
        le = _LARGEST_INT if setting.le is None and type_ is int else setting.le
        bounds = Meta(gt=setting.gt, le=le) if setting.ge is None else Meta(ge=setting.ge, le=le)
        return _Codec(Annotated[type_, bounds], _same)
    if is_dataclass(type_):
        shape = _shape_class((Toggleable if optional else Settings)[type_])
        return _Codec(shape, build_if_enabled if optional else build)
    assert type_ in (bool, str) or origin is Literal or issubclass(type_, Enum), type_
    return _Codec(type_, _same)


def _list_of(item: Accepted) -> Accepted:
    return list[item]


def _same(value: object) -> object:
    return value


def _default_text(field: Field[Any], setting: Setting) -> str | None:
    """The default as text for the documentation; None if it is not shown."""
    value = field.default
    if setting.default is not None or value is MISSING or value is None or is_dataclass(value):
        return setting.default
    if isinstance(value, tuple | frozenset):
        return None
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, bool):
        return str(value).lower()
    return _number_text(value, setting.kind) if isinstance(value, int | float) else str(value)


def _number_text(value: float, kind: ValueKind | None) -> str:
    if kind is ValueKind.SIZE:
        size, unit = next((value // 1024**power, unit) for power, unit in zip((3, 2, 1, 0), (*_UNITS, "B"), strict=True)
                          if value % 1024**power == 0)  # fmt: skip
        return f"{size}{unit}"
    if kind is ValueKind.MILLISECONDS:
        return f"{value * 1000:g}"
    if kind in (ValueKind.DURATION, ValueKind.TIMEOUT) and value:
        return f"{value:g}s" if value >= 1 else f"{value * 1000:g}ms"
    return str(value) if isinstance(value, int) else f"{value:g}"
