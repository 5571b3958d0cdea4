"""From YAML nodes to typed shapes, driven by the types themselves. All errors are reported, not only the first.

An invalid value counts as absent afterwards, so that the rest can still be checked.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache
from math import inf
from typing import Final, TypeVar

import msgspec.inspect as mi

from onwards_py.config.diagnostics import Diagnostics, Path, Position, child_path, did_you_mean, quoted
from onwards_py.config.references import Env, has_reference, substitute
from onwards_py.config.scalars import JsonObject, Opaque, Text
from onwards_py.config.schema import FileShape
from onwards_py.config.setting_shapes import struct_type
from onwards_py.config.shape import Shape
from onwards_py.config.yaml_tree import Mapping, Node, Scalar, Sequence

_NULLS = frozenset(["", "~", "null", "Null", "NULL"])
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# No leading zeros: YAML 1.1 reads them as octal, other parsers as decimal.
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.0{1,9})?")
# A variable as shells write it; references have braces.
_BARE_VARIABLE = re.compile(r"\$[A-Z_][A-Z0-9_]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})?(?:\.[0-9]{0,17})?(?:[eE][-+]?[0-9]{1,2})?")


S = TypeVar("S", bound=Shape)

_TEXT: Final = mi.StrType()
_OPTIONS: Final[dict[Path, str]] = {
    ("server", "port"): "; the port is an option of serve: --port or ONWARDS_PORT",
    ("admin", "port"): "; the port is an option of serve: --admin-port or ONWARDS_ADMIN_PORT",
}
"""Hints for keys that the file does not have, because they are options of the command line."""


class _Invalid(Enum):
    VALUE = 0


INVALID: Final = _Invalid.VALUE
"""The result of decoding an invalid value."""


class Decoder:
    """Decodes one file. ``positions`` maps each path to its place in the file."""

    def __init__(self, diagnostics: Diagnostics, env: Env) -> None:
        self.positions: dict[Path, Position] = {}
        self._diagnostics = diagnostics
        self._env = env
        # These are caches, because every value of a file is looked up.
        self._members: dict[int, list[mi.Type]] = {}
        self._fields: dict[type, dict[str, mi.Field]] = {}

    def file(self, root: Node) -> FileShape | None:
        """The whole file, or None if it could not be decoded."""
        return self.mapping(root, FileShape)

    def mapping(self, root: Node, shape: type[S]) -> S | None:
        """A document that consists of one ``shape``, or None if it could not be decoded."""
        self.positions[()] = root.position
        value = self._struct(root, _outline(shape), ())
        return value if isinstance(value, shape) else None

    def _value(self, node: Node, kind: mi.Type, path: Path) -> object:
        while isinstance(kind, mi.Metadata):
            kind = kind.type
        if isinstance(kind, mi.UnionType):
            return self._union(node, kind, path)
        if isinstance(kind, mi.StructType):
            return self._struct(node, kind, path)
        if isinstance(kind, mi.DictType):
            return self._dict(node, kind, path)
        if isinstance(kind, mi.ListType):
            return self._list(node, kind, path)
        if isinstance(kind, mi.CustomType) and issubclass(kind.cls, Opaque):
            return Opaque() if isinstance(node, Mapping) else self._expected(node, "a mapping", path)
        if isinstance(kind, mi.CustomType) and issubclass(kind.cls, JsonObject):
            return (
                JsonObject(self._object(node, path))
                if isinstance(node, Mapping)
                else self._expected(node, "a mapping", path)
            )
        return self._scalar(node, kind, path)

    def _object(self, node: Mapping, path: Path) -> dict[str, object]:
        return {entry.key: self._json(entry.value, (*path, entry.key)) for entry in node.entries}

    def _json(self, node: Node, path: Path) -> object:
        """Any value, as JSON represents it; quoted scalars are always text."""
        if isinstance(node, Mapping):
            return self._object(node, path)
        if isinstance(node, Sequence):
            return [self._json(item, (*path, index)) for index, item in enumerate(node.items)]
        self.positions[path] = node.position
        text = self._scalar(node, _TEXT, path) if not _is_null(node) else None
        if not isinstance(text, str) or not node.plain:
            return text
        if text in ("true", "false"):
            return text == "true"
        if _INTEGER.fullmatch(text):
            return int(text.partition(".")[0])
        return float(text) if _NUMBER.fullmatch(text) and any(map(str.isdigit, text)) else text

    def _union(self, node: Node, kind: mi.UnionType, path: Path) -> object:
        kinds = self._members.get(id(kind))
        if kinds is None:
            kinds = self._members[id(kind)] = [member for member in kind.types if not isinstance(member, mi.NoneType)]
        if len(kinds) < len(kind.types) and _is_null(node):
            return None
        if len(kinds) == 1:
            return self._value(node, kinds[0], path)
        form: tuple[type[mi.Type], ...] = (mi.ListType,)
        if isinstance(node, Mapping | Scalar):
            form = (mi.StructType, mi.DictType) if isinstance(node, Mapping) else (mi.EnumType,)
        found = next((member for member in kinds if isinstance(member, form)), None)
        if found is None:
            return self._expected(node, " or ".join(map(_form, kinds)), path)
        return self._value(node, found, path)

    def _struct(self, node: Node, kind: mi.StructType, path: Path) -> object:
        if not isinstance(node, Mapping):
            return self._expected(node, _mapping_form(node, kind), path)
        kind = struct_type(kind)
        fields = self._fields.get(kind.cls)
        if fields is None:
            fields = self._fields[kind.cls] = {field.name: field for field in kind.fields}
        values: dict[str, object] = {}
        for entry in node.entries:
            field = fields.get(entry.key)
            at = (*path, entry.key)
            if field is not None:
                self.positions[at] = entry.position
                value = self._value(entry.value, field.type, at)
                if value is None:
                    del self.positions[at]  # null means absent
                values[entry.key] = None if value is INVALID and not field.required else value
            elif path or not (entry.key.startswith("x-") or entry.key == "$schema"):
                hint = _OPTIONS.get(at) or did_you_mean(entry.key, fields)
                self._diagnostics.error(entry.position, path, f"unknown key {quoted(entry.key)}{hint}")
        for field in kind.fields:
            if field.required and field.name not in values:
                self._diagnostics.error(self.positions[path], path, f"'{field.name}' is missing")
                values[field.name] = INVALID
        self._one_of(kind.cls, path)
        return INVALID if INVALID in values.values() else kind.cls(**values)

    def _one_of(self, cls: type, path: Path) -> None:
        """Exactly one of the keys in ``one_of`` must be given, valid or not."""
        names: tuple[str, ...] = getattr(cls, "one_of", ())
        given = [name for name in names if (*path, name) in self.positions]
        if names and not given:
            self._diagnostics.error(self.positions[path], path, f"needs {' or '.join(map(repr, names))}")
        for name in given[1:]:
            at = (*path, name)
            self._diagnostics.error(self.positions[at], at, f"is not allowed beside '{given[0]}'; remove one of them")

    def _dict(self, node: Node, kind: mi.DictType, path: Path) -> object:
        if not isinstance(node, Mapping):
            return self._expected(node, "a mapping", path)
        values: dict[str, object] = {}
        for entry in node.entries:
            at = (*path, entry.key)
            self.positions[at] = entry.position
            try:
                key = str(_read(entry.key, kind.key_type, bare=False))
            except ValueError as error:
                self._diagnostics.error(entry.position, child_path(path, entry.key), str(error))
                continue
            value = self._value(entry.value, kind.value_type, at)
            if value is not INVALID:
                values[key] = value
        return values

    def _list(self, node: Node, kind: mi.ListType, path: Path) -> object:
        if not isinstance(node, Sequence):
            return self._expected(node, "a list", path)
        values: list[object] = []
        for index, item in enumerate(node.items):
            self.positions[(*path, index)] = item.position
            values.append(self._value(item, kind.item_type, (*path, index)))
        # Without an invalid item, the others would have the wrong indexes.
        return INVALID if INVALID in values else values

    def _scalar(self, node: Node, kind: mi.Type, path: Path) -> object:
        if not isinstance(node, Scalar) or _is_null(node):
            return self._expected(node, _name(kind), path)
        text, substituted = node.text, False
        try:
            if has_reference(text):
                text, substituted = substitute(text, self._env), True
            elif text.startswith("$") and _BARE_VARIABLE.fullmatch(text):
                self._diagnostics.warn(
                    node.position, path, "is used as it is: a reference to a variable needs braces, ${NAME}"
                )
            return _read(text, kind, bare=node.plain or substituted)
        except ValueError as error:
            self._diagnostics.error(node.position, path, str(error))
            return INVALID

    def _expected(self, node: Node, what: str, path: Path) -> object:
        self._diagnostics.error(
            self.positions[path] if _is_null(node) else node.position, path, f"expected {what}, found {_found(node)}"
        )
        return INVALID


@cache
def _outline(shape: type[Shape]) -> mi.StructType:
    outline = mi.type_info(shape)
    assert isinstance(outline, mi.StructType)
    return outline


def _mapping_form(node: Node, kind: mi.StructType) -> str:
    """The expected mapping, with its required keys if a single value stands in its place."""
    if isinstance(node, Scalar) and not _is_null(node):
        required = [f"'{field.name}'" for field in struct_type(kind).fields if field.required]
        if required:
            return f"a mapping with the key{'s' if len(required) > 1 else ''} {', '.join(required)}"
    return "a mapping"


def _form(kind: mi.Type) -> str:
    if isinstance(kind, mi.ListType):
        return "a list"
    return _name(kind) if isinstance(kind, mi.EnumType) else "a mapping"


def _read(text: str, kind: mi.Type, *, bare: bool) -> object:
    """``bare``: unquoted or substituted text, which may be a number or a boolean. Raises ValueError."""
    if isinstance(kind, mi.CustomType):
        assert issubclass(kind.cls, Text)
        return kind.cls.parse(text)
    if isinstance(kind, mi.StrType):
        return text
    if isinstance(kind, mi.EnumType | mi.LiteralType):
        return _choice(text, kind)
    if isinstance(kind, mi.BoolType):
        value = _BOOLEANS.get(text.lower()) if bare else None
        if value is None:
            raise ValueError("expected true or false")
        return value
    if isinstance(kind, mi.IntType):
        if not bare or not _INTEGER.fullmatch(text):
            raise ValueError("expected a whole number")
        return _bounded(int(text.partition(".")[0]), kind)
    assert isinstance(kind, mi.FloatType)
    if not bare or not _NUMBER.fullmatch(text) or not any(map(str.isdigit, text)):
        raise ValueError("expected a number")
    return _bounded(float(text), kind)


def _choice(text: str, kind: mi.EnumType | mi.LiteralType) -> object:
    choices: dict[str, object] = (
        {str(member.value): member for member in kind.cls}
        if isinstance(kind, mi.EnumType)
        else {str(value): value for value in kind.values}
    )
    if text not in choices:
        raise ValueError(f"expected one of {', '.join(choices)}{did_you_mean(text, choices)}")
    return choices[text]


def _bounded(value: float, kind: mi.IntType | mi.FloatType) -> float:
    if kind.gt is not None and not value > kind.gt:
        raise ValueError(f"must be more than {kind.gt}")
    if kind.ge is not None and not value >= kind.ge:
        raise ValueError(f"must be at least {kind.ge}")
    if not value <= (inf if kind.le is None else kind.le):
        raise ValueError(f"must be at most {kind.le}")
    return value


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.plain and node.text in _NULLS


def _name(kind: mi.Type) -> str:
    if isinstance(kind, mi.BoolType):
        return "true or false"
    return "a number" if isinstance(kind, mi.IntType | mi.FloatType) else "text"


def _found(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    return "nothing" if _is_null(node) else "text"
