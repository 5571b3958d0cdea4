"""The specification's OpenAPI file, compiled: does a body or an event fit?

The file comes out of the package ``openresponses-py``. Unions that are told apart by ``type`` become if-then rules, so
that a complaint names the member at fault and not the whole union.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

import jsonschema_rs

from support.responses_promises import Breach, Json, Promise, as_dict, as_list

SPEC = "2026-04-24"
RESOURCE = "ResponseResource"
_RESPONSES_200 = ("paths", "/responses", "post", "responses", "200", "content", "text/event-stream", "schema", "oneOf")
_FREE = frozenset({"parameters", "schema", "metadata"})  # what clients put there is not ours
_COUNTS = ("_index", "_tokens", "_at", "sequence_number")


@cache
def _components() -> Json:
    document = json.loads(files("openresponses").joinpath("openapi", f"{SPEC}.json").read_bytes())
    assert document["info"] == {"title": "Open Responses", "version": SPEC}
    schemas = document["components"]["schemas"]
    return {"schemas": {name: _told_apart(schema, schemas) for name, schema in schemas.items()}}


def _told_apart(schema: object, schemas: Json) -> object:
    """``schema`` with every union by ``type`` rewritten as one rule per type."""
    if isinstance(schema, list):
        return [_told_apart(each, schemas) for each in schema]
    if not isinstance(schema, dict):
        return schema
    types = {_type_of(branch, schemas): branch for branch in as_list(schema.get("oneOf"))}
    rest = {key: _told_apart(value, schemas) for key, value in schema.items() if key != "discriminator"}
    if not types or None in types:
        return rest
    del rest["oneOf"]
    rules = [
        {"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": branch}
        for name, branch in types.items()
    ]
    return {**rest, "type": "object", "required": ["type"], "properties": {"type": {"enum": [*types]}}, "allOf": rules}


def _type_of(branch: object, schemas: Json) -> str | None:
    """The one ``type`` of the objects that a union's branch describes."""
    name = str(as_dict(branch).get("$ref", "")).rpartition("/")[2]
    names = as_list(as_dict(as_dict(as_dict(schemas.get(name)).get("properties")).get("type")).get("enum"))
    return str(names[0]) if len(names) == 1 else None


@cache
def event_schemas() -> dict[str, str]:
    """Event type -> name of its schema, of all events of the specification."""
    node: object = json.loads(files("openresponses").joinpath("openapi", f"{SPEC}.json").read_bytes())
    for step in _RESPONSES_200:
        node = as_dict(node)[step]
    schemas = as_dict(_components()["schemas"])
    return {str(_type_of(branch, schemas)): str(as_dict(branch)["$ref"]).rpartition("/")[2] for branch in as_list(node)}


@cache
def _validator(name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": _components()})


def schema_breaches(name: str, value: object, where: str) -> list[Breach]:
    """What in ``value`` does not fit the schema ``name``; every complaint with its path."""
    return [
        Breach(Promise.SCHEMA, f"{where}: /{'/'.join(map(str, error.instance_path))}: {error.message[:300]}")
        for error in _validator(name).iter_errors(value)
    ]


def integer_breaches(value: object, where: str) -> Iterator[Breach]:
    """Counts that are floats or booleans: JSON Schema takes 1.0 for an integer, clients in Rust and Go do not."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from integer_breaches(each, f"{where}/{index}")
    elif isinstance(value, dict):
        for key, each in value.items():
            if key.endswith(_COUNTS) and isinstance(each, bool | float):
                yield Breach(Promise.INTEGERS, f"{where}/{key}: {each!r}")
            elif key not in _FREE:
                yield from integer_breaches(each, f"{where}/{key}")
