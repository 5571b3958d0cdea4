"""``preset`` and ``translate`` of one provider, to the settings that translation uses."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from onwards_py.config.diagnostics import Path
from onwards_py.config.inherit import Reporter
from onwards_py.config.setting_shapes import explicit, shape_class
from onwards_py.config.translate_schema import TranslateShape
from onwards_py.sealing import Keyring
from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral.context import Profile
from onwards_py.transcode.neutral.policy import DEFAULT_KEY, UNSUPPORTED, Policy
from onwards_py.transcode.neutral.settings import TranslateSettings


def compile_translate(
    preset: str | None, shape: TranslateShape | None, path: Path, reporter: Reporter
) -> TranslateSettings | None:
    """The settings; None if the file has neither key: then the defaults apply."""
    if preset is None and shape is None:
        return None
    shape = shape or shape_class(TranslateShape)()
    policy = _by_key(Policy(**explicit(shape, Policy)), shape, path, reporter)
    if shape.profile not in (None, "auto"):
        policy = replace(policy, profile=Profile(shape.profile))
    return TranslateSettings(
        quirks=replace(PRESETS[preset or "generic"], **explicit(shape.quirks)),
        policy=policy,
        keyring=_keyring(shape, path, reporter),
        **explicit(shape, TranslateSettings),
    )


def _by_key(policy: Policy, shape: TranslateShape, path: Path, reporter: Reporter) -> Policy:
    """``policy`` with ``on_unsupported``, which is one decision or one for each field."""
    decision = shape.on_unsupported
    if decision is None:
        return policy
    if not isinstance(decision, dict):
        return replace(policy, on_unsupported=decision)
    for key in decision.keys() - {DEFAULT_KEY}:
        if key.replace("[", ".").partition(".")[0] not in UNSUPPORTED:
            known = ", ".join(sorted(UNSUPPORTED))
            reporter.error(
                (*path, "translate", "on_unsupported", key), f"is not a known field; the known fields are: {known}"
            )
    rest = {key: value for key, value in decision.items() if key != DEFAULT_KEY}
    default = decision.get(DEFAULT_KEY, policy.on_unsupported)
    return replace(policy, on_unsupported=default, unsupported=MappingProxyType(rest))


def _keyring(shape: TranslateShape, path: Path, reporter: Reporter) -> Keyring | None:
    if not shape.reasoning_keys:
        return None
    try:
        return Keyring([key.value for key in shape.reasoning_keys])
    except ValueError as error:
        reporter.error((*path, "translate", "reasoning_keys"), str(error))
        return None
