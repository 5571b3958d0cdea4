"""The declaration of a setting, beside the field that holds its value.

A group of settings is a frozen dataclass of the compiled configuration. A field that operators can set is annotated
with a `Setting`; the type and the default are those of the field:

    @dataclass(frozen=True, slots=True)
    class HealthCheck:
        \"\"\"A GET request in the background, with the provider's credential; a 2xx response is a success.\"\"\"

        merged_by_key: ClassVar = True

        interval: Annotated[float, Setting("Interval between checks.", ValueKind.TIMEOUT)] = 10.0
        healthy_after: Annotated[int, Setting("Consecutive successes that restore the provider.", ge=1)] = 2

The declaration determines the accepted keys with their bounds and descriptions (`config.setting_shapes`), the JSON
Schema, the compiled value, and the row that a test requires in `docs/reference/configuration.md`. Editors show the
first paragraph of the class's docstring as the description of the group.

To add a setting: append the field, run `onwards-py schema > docs/schema/targets.schema.json`, add the row.

To add a group: write the dataclass, and use it as the type of a field. In a shape (`config/*_schema.py`) the type is
`Settings[Group]`, or `Toggleable[Group]` for a group that ``enabled: false`` disables; in another group it is ``Group``
or ``Group | None``. The keys of a group can also stand directly in a shape, which then lists the group in its
``flattened``: `Provider` and `Pool` are such groups, so a plain setting of providers or targets is a field there.

Class attributes of a group:

- ``merged_by_key = True``: a provider that sets one key of the group inherits the other keys from its target. Otherwise
  the nearest mapping replaces inherited ones as a whole.
- ``shows_defaults = False``: the documentation does not show the defaults of the fields, because presets change them.

`config.setting_shapes.build` compiles a group; `explicit` returns only the values that the file sets, for example in
``replace(preset, **explicit(shape))``. Only a key that is not copied needs code of its own: it is a plain field of a
shape, and a `config/compile_*.py` computes the compiled value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ValueKind(Enum):
    """How a value is written in the file, where the type of the field does not determine it."""

    DURATION = "duration"
    """A float, in seconds, zero or more; written as ``30s``, ``500ms``, ``2m`` or a number of seconds."""
    TIMEOUT = "timeout"
    """The same, but more than zero."""
    MILLISECONDS = "milliseconds"
    """A float, in seconds; written as a whole number of milliseconds."""
    SIZE = "size"
    """An int, in bytes, one or more; written as ``64MiB``, ``10MB`` or a number of bytes."""
    LISTEN_HOST = "listen_host"
    """A str: an IP address or a host name to listen on."""
    HOST_PATTERNS = "host_patterns"
    """A tuple of str: host names in lower case, also ``*.example.com`` and ``*``."""
    HEADER_NAMES = "header_names"
    """A tuple of bytes, in lower case; written as a list of header names."""
    REQUEST_PATH = "request_path"
    """Bytes: a path, perhaps with a query."""
    STATUSES = "statuses"
    """A frozenset of int; written as a list of ``503``, ``50x`` and ``5xx``."""
    ERROR_CODES = "error_codes"
    """A frozenset of str, in lower case; written as a list."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The description and the bounds of a field, for the parser of the file, the JSON Schema and the documentation.

    ``description`` is the documentation sentence, without the default, which is appended to it from the field:
    ``default`` replaces the text of that default ("" omits it). ``key`` is the name in the file, if it is not that
    of the field. ``ge``, ``gt`` and ``le`` bound numbers. ``choices``: the only accepted words, for a field of type
    str or a tuple or frozenset of str. ``zero_is_none``: a 0 in the file becomes None.
    """

    description: str
    kind: ValueKind | None = None
    key: str | None = None
    default: str | None = None
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    choices: tuple[str, ...] = ()
    zero_is_none: bool = False
