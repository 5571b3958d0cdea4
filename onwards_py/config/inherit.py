"""Inheritance: `defaults` apply to every target, and a target's settings to its providers. The nearest value wins."""

from __future__ import annotations

from typing import TypeVar

from msgspec import structs

from onwards_py.config.diagnostics import Diagnostics, Path, Position
from onwards_py.config.provider_schema import OpenResponsesShape, ProviderSettingsShape, ResponsesMode
from onwards_py.config.schema import DefaultsShape
from onwards_py.config.setting_shapes import explicit, settings_of
from onwards_py.config.shape import Shape
from onwards_py.model.provider import Timeouts

S = TypeVar("S", bound=Shape)
Level = TypeVar("Level", bound=ProviderSettingsShape)
V = TypeVar("V")

_NO_EFFECT = "is accepted but has no effect yet"


class Reporter:
    """Reports errors and warnings at the place where a path was written."""

    def __init__(self, diagnostics: Diagnostics, positions: dict[Path, Position]) -> None:
        self._diagnostics = diagnostics
        self._positions = positions

    def has_key(self, path: Path) -> bool:
        """Whether the file has this key, even with an invalid value."""
        return path in self._positions

    def error(self, path: Path, message: str) -> None:
        self._diagnostics.error(self._at(path), path, message)

    def warn(self, path: Path, message: str) -> None:
        self._diagnostics.warn(self._at(path), path, message)

    def _at(self, path: Path) -> Position:
        while path not in self._positions:
            path = path[:-1]
        return self._positions[path]


def resolve_aliases(level: Level, path: Path, reporter: Reporter) -> Level:
    """One level with alternative spellings replaced by the main one. Warns about keys without effect."""
    changes: dict[str, object] = {}
    if level.open_responses is not None:
        mode = _mode(level.open_responses, (*path, "open_responses"), reporter)
        if level.open_responses_mode not in (None, mode):
            reporter.error((*path, "open_responses"), "contradicts open_responses_mode")
        changes["open_responses_mode"] = mode or level.open_responses_mode
    if level.dialect is not None:
        if level.preset not in (None, level.dialect):
            reporter.error((*path, "dialect"), "contradicts preset")
        changes["preset"] = level.dialect
    quirks = None if level.translate is None else level.translate.quirks
    if level.translate is not None and quirks is not None and quirks.call_stand_in is not None:
        if "call_placeholder" in explicit(quirks):
            message = "means the same as call_placeholder; remove one of them"
            reporter.error((*path, "translate", "quirks", "call_stand_in"), message)
        quirks = structs.replace(quirks, call_placeholder=quirks.call_stand_in)
        changes["translate"] = structs.replace(level.translate, quirks=quirks)
    if level.request_timeout_secs is not None:
        timeouts = level.timeouts or settings_of(Timeouts)
        if "first_byte" in explicit(timeouts):
            reporter.error((*path, "request_timeout_secs"), "means the same as timeouts.first_byte; remove one of them")
        changes["timeouts"] = structs.replace(timeouts, first_byte=level.request_timeout_secs)
    settled = structs.replace(level, **changes)
    _warn_of_no_effect(settled, path, reporter)
    if isinstance(settled, DefaultsShape):
        _report_missing_keys(settled, path, reporter)
    return settled


def inherit(own: S, base: Shape, leave: frozenset[str] = frozenset()) -> S:
    """``own`` with its absent keys taken from ``base``, except the keys in ``leave``."""
    changes: dict[str, object] = {}
    for name in own.__struct_fields__:
        inherited = getattr(base, name, None)
        if inherited is None or name in leave:
            continue
        value = getattr(own, name)
        if value is None:
            changes[name] = inherited
        elif isinstance(value, Shape) and value.merged_by_key:
            changes[name] = inherit(value, inherited)
        elif name in ("response_headers", "query"):
            changes[name] = _joined(inherited, value)
    return structs.replace(own, **changes)


def _joined(base: dict[str, V], own: dict[str, V]) -> dict[str, V]:
    own_names = {name.lower() for name in own}
    return {name: value for name, value in base.items() if name.lower() not in own_names} | own


def _mode(spelled: OpenResponsesShape, path: Path, reporter: Reporter) -> ResponsesMode | None:
    if spelled.adapter is None:
        return spelled.mode
    mode = ResponsesMode.TRANSLATE if spelled.adapter else ResponsesMode.NATIVE
    if spelled.mode not in (None, mode):
        reporter.error(path, "'adapter' and 'mode' contradict each other")
    return mode


def _report_missing_keys(level: DefaultsShape, path: Path, reporter: Reporter) -> None:
    """Report keys that are required only if a group is enabled."""
    hedge, affinity = level.hedge, level.affinity
    if hedge is not None and hedge.enabled is not False and not reporter.has_key((*path, "hedge", "after")):
        reporter.error((*path, "hedge"), "'after' is missing")
    if affinity is None or affinity.enabled is False:
        return
    if not any(reporter.has_key((*path, "affinity", name)) for name in ("session", "prompt_bytes")):
        reporter.error((*path, "affinity"), "needs 'session' or 'prompt_bytes' to identify conversations")


def _warn_of_no_effect(level: ProviderSettingsShape, path: Path, reporter: Reporter) -> None:
    if level.sanitize_response:
        reporter.warn((*path, "sanitize_response"), _NO_EFFECT)
    if level.reasoning_translation is not None:
        reporter.warn((*path, "reasoning_translation"), _NO_EFFECT)
    if not isinstance(level, DefaultsShape):
        return
    if (
        level.fallback is not None
        and "enabled" not in explicit(level.fallback)
        and not reporter.has_key((*path, "fallback", "enabled"))
    ):
        reporter.warn((*path, "fallback"), "has no effect without 'enabled: true'")
