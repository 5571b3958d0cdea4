"""The declaration of a setting, beside the field that holds its value.

A group of settings is a frozen dataclass of the compiled configuration. A field that an operator may set is annotated
with a `Setting`; its type and default are those of the field:

    @dataclass(frozen=True, slots=True)
    class HealthCheck:
        \"\"\"A GET in the background, with the provider's credential, that must be answered with 2xx.\"\"\"

        merged_by_key: ClassVar = True

        interval: Annotated[float, Setting("From one check to the next.", ValueKind.TIMEOUT)] = 10.0
        healthy_after: Annotated[int, Setting("Successes in a row that restore the provider.", ge=1)] = 2

From this follow the keys that the file may hold, with their bounds and descriptions (`config.setting_shapes`), the JSON
Schema, the compiled value, and a test that asks for the row in `docs/reference/configuration.md`. The first paragraph
of the class's docstring is what editors show of the group.

To add a setting: add the field, run `onwards-py schema > docs/schema/targets.schema.json`, add the row.

To add a group: make the dataclass, and give a field of a shape (`config/*_schema.py`) or of another group the type
`Settings[Group]`, or `Toggleable[Group]` for a group that ``enabled: false`` switches off; in another group ``Group``
and ``Group | None``. A group whose keys stand directly in a shape, without a mapping of their own, is listed in the
shape's ``flattened``; `Provider` and `Pool` are such groups, so a setting of theirs is a field of theirs.
``merged_by_key = True``: a provider that sets one key of the group inherits the others from its target; otherwise the
nearest mapping counts as a whole. ``shows_defaults = False``: the fields' defaults are not documented, because a
preset decides.

`config.setting_shapes.build` compiles a group; `explicit` gives only the values that the file sets, as in
``replace(preset, **explicit(shape))``. Code of its own is needed only for a setting that is not a copy of its key: that
stands in a shape as a field without a group, and a `config/compile_*.py` makes the compiled value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ValueKind(Enum):
    """How a value is written in the file, where the field's type alone does not say."""

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
    """What the file and its documents need to know of a field.

    ``description`` is the documentation sentence, without the default, which is appended to it from the field:
    ``default`` replaces the text of that default ("" leaves it out). ``key`` is the name in the file, if it is not that
    of the field. ``ge``, ``gt`` and ``le`` bound numbers. ``choices``: the only words, for a field of type str or a
    tuple or frozenset of them. ``zero_is_none``: a 0 in the file becomes None.
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
