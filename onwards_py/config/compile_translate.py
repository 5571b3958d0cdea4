"""``dialect`` and ``translate`` of one provider, to the settings that translation uses."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from onwards_py.config.diagnostics import Path
from onwards_py.config.inherit import Reporter
from onwards_py.config.translate_schema import QuirksShape, TranslateShape
from onwards_py.sealing import Keyring
from onwards_py.transcode.neutral.context import Profile
from onwards_py.transcode.neutral.policy import DEFAULT_KEY, UNSUPPORTED, Policy
from onwards_py.transcode.neutral.quirks import PRESETS, Quirks
from onwards_py.transcode.neutral.settings import TranslateSettings

_POLICIES = ("hosted_tools", "orphans", "unanswered", "foreign_reasoning")


def compile_translate(
    dialect: str | None, shape: TranslateShape | None, path: Path, reporter: Reporter
) -> TranslateSettings | None:
    """The settings; None where nothing is said, so that the defaults count."""
    if dialect is None and shape is None:
        return None
    shape = shape or TranslateShape()
    defaults = TranslateSettings()
    said = {name: value for name in _POLICIES if (value := getattr(shape, name)) is not None}
    policy = _by_key(replace(Policy(), **said), shape, path, reporter)
    if shape.profile not in (None, "auto"):
        policy = replace(policy, profile=Profile(shape.profile))
    return TranslateSettings(
        quirks=_quirks(PRESETS[dialect or "generic"], shape.quirks),
        policy=policy,
        keepalive=shape.keepalive or defaults.keepalive,
        keepalive_interval=float(shape.keepalive_interval or defaults.keepalive_interval),
        commit_after=None if shape.commit_after is None else float(shape.commit_after),
        keyring=_keyring(shape, path, reporter),
    )


def _by_key(policy: Policy, shape: TranslateShape, path: Path, reporter: Reporter) -> Policy:
    """``policy`` with what is said of all fields that a provider has no words for, or of single ones."""
    said = shape.on_unsupported
    if said is None:
        return policy
    if not isinstance(said, dict):
        return replace(policy, on_unsupported=said)
    for key in said.keys() - {DEFAULT_KEY}:
        if key.replace("[", ".").partition(".")[0] not in UNSUPPORTED:
            known = ", ".join(sorted(UNSUPPORTED))
            reporter.error(
                (*path, "translate", "on_unsupported", key), f"is not a known field; the known fields are: {known}"
            )
    rest = {key: value for key, value in said.items() if key != DEFAULT_KEY}
    default = said.get(DEFAULT_KEY, policy.on_unsupported)
    return replace(policy, on_unsupported=default, unsupported=MappingProxyType(rest))


def _keyring(shape: TranslateShape, path: Path, reporter: Reporter) -> Keyring | None:
    if not shape.reasoning_keys:
        return None
    try:
        return Keyring([key.value for key in shape.reasoning_keys])
    except ValueError as error:
        reporter.error((*path, "translate", "reasoning_keys"), str(error))
        return None


def _quirks(preset: Quirks, shape: QuirksShape | None) -> Quirks:
    if shape is None:
        return preset
    said: dict[str, object] = {}
    for name in shape.__struct_fields__:
        value = getattr(shape, name)
        if value is None:
            continue
        if name in ("reasoning_in", "reasoning_out", "efforts"):
            value = tuple(value)
        elif name in ("hints", "drop"):
            value = frozenset(value)
        elif name in ("extra", "call_stand_in"):
            value = MappingProxyType(dict(value.value))
        said[name] = value
    return replace(preset, **said)  # type: ignore[arg-type]
