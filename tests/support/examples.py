"""How many examples a property is tried with."""

from __future__ import annotations

from hypothesis import settings

_CI = 100  # examples of a property that asks for no number, under the profile "ci"


def examples(count: int) -> settings:
    """Settings for a property that needs ``count`` examples in CI, and fewer in proportion under another profile."""
    assert settings.default is not None
    return settings(max_examples=max(1, count * settings.default.max_examples // _CI))
