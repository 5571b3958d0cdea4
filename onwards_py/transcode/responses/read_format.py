"""``text.format``: the format that the answer is to have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext, name_of, wrong_type
from onwards_py.transcode.neutral.request import OutputFormat


class ReadFormat(NamedTuple):
    """A format, and how the response repeats it: for a schema with name, description, schema and strict."""

    format: OutputFormat | None
    echo: dict[str, object]


_TEXT = ReadFormat(None, {"type": "text"})


def read_format(request: Mapping[str, object], context: TranslationContext) -> ReadFormat:
    """The format that is asked for; ``response_format`` is understood, too. Raises InvalidRequest."""
    text, where = request.get("text"), "text.format"
    form = text.get("format") if isinstance(text, dict) else None
    if form is None:
        form, where = request.get("response_format"), "response_format"
    if form is None:
        return _TEXT
    if not isinstance(form, dict):
        raise wrong_type(where, "an object", form)
    kind = form.get("type")
    if kind == "text":
        return _TEXT
    if kind == "json_object":
        return ReadFormat(OutputFormat(kind, {}, where), {"type": kind})
    if kind == "json_schema":
        inner = form.get("json_schema")
        return _json_schema(inner if isinstance(inner, dict) else form, where)
    if not isinstance(kind, str):
        raise wrong_type(f"{where}.type", "a string", kind)
    context.unsupported(f"{where}.type", f"The format {kind!r} is not available for this model.")
    return _TEXT


def _json_schema(form: dict[str, object], where: str) -> ReadFormat:
    schema, strict = form.get("schema"), form.get("strict")
    if not isinstance(schema, dict):
        message = f"'{where}.schema' must be a JSON schema, not {name_of(schema)}."
        raise InvalidRequest(f"{where}.schema", message, "invalid_type")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequest(f"{where}.strict", f"'{where}.strict' must be a boolean.", "invalid_type")
    name, description = form.get("name"), form.get("description")
    for member, value in (("name", name), ("description", description)):
        if value is not None and not isinstance(value, str):
            raise InvalidRequest(f"{where}.{member}", f"'{where}.{member}' must be a string.", "invalid_type")
    name = name or "response"
    members = {"name": name, "schema": schema, "description": description, "strict": strict}
    echo = {"type": "json_schema", **members, "strict": bool(strict)}
    return ReadFormat(OutputFormat("json_schema", members, where), echo)
