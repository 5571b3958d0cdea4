"""How many examples a property is tried with."""

from __future__ import annotations

from hypothesis import settings

_USUAL = 100  # of Hypothesis, and of the profile "ci"


def examples(count: int) -> settings:
    """Settings for a property that needs ``count`` examples in CI, and fewer in proportion under another profile."""
    return settings(max_examples=max(1, count * settings.default.max_examples // _USUAL))
