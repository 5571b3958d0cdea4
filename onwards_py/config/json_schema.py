"""The JSON Schema of the file, for editors and CI, generated from the types that drive the decoder.

It accepts everything that the loader accepts. Errors that involve several values (contradicting spellings, weights that
are all zero) are found by the loader only.
"""

from __future__ import annotations

import msgspec.inspect as mi
import orjson

from onwards_py.config.provider_schema import ProviderShape
from onwards_py.config.scalars import JSON, Text
from onwards_py.config.schema import FileShape, TargetShape
from onwards_py.config.setting_shapes import struct_type
from onwards_py.config.shape import Shape

_DIALECT = "http://json-schema.org/draft-07/schema#"
# A number or boolean may also be a reference, which is a string for the schema.
_REFERENCE: JSON = {"type": "string", "pattern": r"\$\{"}
# Text needs no quotes: 1.10 and no are taken literally.
_TEXT: JSON = {"type": ["string", "number", "boolean"]}


def generate() -> JSON:
    """The schema as plain data (JSON Schema draft 7, which YAML language servers understand)."""
    return {
        "$schema": _DIALECT,
        "title": "onwards_py configuration",
        **schema_of(FileShape),
        "patternProperties": {"^x-": True, "^\\$schema$": True},
    }


def schema_of(shape: type[Shape]) -> JSON:
    """The schema of one mapping, with the ``definitions`` that it refers to."""
    definitions: dict[str, JSON] = {}
    root = _schema(mi.type_info(shape), definitions)
    name = str(root["$ref"]).rpartition("/")[2]
    top = definitions.pop(name)
    return {**top, "definitions": dict(sorted(definitions.items()))}


def render() -> bytes:
    """The schema as it is shipped: indented JSON with a line end."""
    return orjson.dumps(generate(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _schema(kind: mi.Type, definitions: dict[str, JSON]) -> JSON:
    if isinstance(kind, mi.Metadata):
        inner = _schema(kind.type, definitions)
        described = kind.extra_json_schema or {}
        # In draft 7, all keywords beside $ref are ignored.
        return {**described, "allOf": [inner]} if described and "$ref" in inner else {**described, **inner}
    if isinstance(kind, mi.UnionType):
        return _union(kind, definitions)
    if isinstance(kind, mi.StructType):
        return _reference(kind, definitions)
    if isinstance(kind, mi.DictType):
        made: JSON = {"type": "object", "additionalProperties": _schema(kind.value_type, definitions)}
        return made if isinstance(kind.key_type, mi.StrType) else {**made, "propertyNames": _text(kind.key_type)}
    if isinstance(kind, mi.ListType):
        return {"type": "array", "items": _schema(kind.item_type, definitions)}
    return _scalar(kind)


def _union(kind: mi.UnionType, definitions: dict[str, JSON]) -> JSON:
    members: list[object] = []
    for member in kind.types:
        made: JSON = {"type": "null"} if isinstance(member, mi.NoneType) else _schema(member, definitions)
        nested = made.get("anyOf")
        members += nested if isinstance(nested, list) else [made]
    return {"anyOf": members}


def _reference(kind: mi.StructType, definitions: dict[str, JSON]) -> JSON:
    kind = struct_type(kind)
    name = kind.cls.__name__.removesuffix("Shape")
    if name not in definitions:
        definitions[name] = {}
        definitions[name] = {
            "description": " ".join((kind.cls.__doc__ or "").split()),
            "type": "object",
            "properties": {field.name: _schema(field.type, definitions) for field in kind.fields},
            "required": [field.name for field in kind.fields if field.required],
            "additionalProperties": False,
        }
        if issubclass(kind.cls, ProviderShape | TargetShape):
            fields = kind.cls.__struct_fields__
            places = [place for place in ("url", "base_url", "local", "providers", "route_by") if place in fields]
            definitions[name]["anyOf"] = [{"required": [place]} for place in places]
        elif issubclass(kind.cls, Shape) and kind.cls.one_of:
            definitions[name]["anyOf"] = [{"required": [word]} for word in kind.cls.one_of]
    return {"$ref": f"#/definitions/{name}"}


def _scalar(kind: mi.Type) -> JSON:
    if isinstance(kind, mi.CustomType):
        own = _text(kind)
        return _TEXT if own == {"type": "string"} else {"anyOf": [own, _REFERENCE]}
    if isinstance(kind, mi.StrType):
        return _TEXT
    if isinstance(kind, mi.BoolType):
        return {"anyOf": [{"type": "boolean"}, _REFERENCE]}
    if isinstance(kind, mi.EnumType | mi.LiteralType):
        values = [member.value for member in kind.cls] if isinstance(kind, mi.EnumType) else list(kind.values)
        return {"anyOf": [{"enum": values}, _REFERENCE]}
    assert isinstance(kind, mi.IntType | mi.FloatType)
    return {"anyOf": [_number(kind), _REFERENCE]}


def _number(kind: mi.IntType | mi.FloatType) -> JSON:
    bounds = {"exclusiveMinimum": kind.gt, "minimum": kind.ge, "maximum": kind.le}
    name = "integer" if isinstance(kind, mi.IntType) else "number"
    return {"type": name, **{word: bound for word, bound in bounds.items() if bound is not None}}


def _text(kind: mi.Type) -> JSON:
    assert isinstance(kind, mi.CustomType)
    assert issubclass(kind.cls, Text)
    return kind.cls.schema
