"""The result of classification, for models of all formats."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

ScoreSource = Literal["probability", "softmax", "sigmoid", "none"]
"""The source of the probabilities: the model itself; its scores, normalised by a function; or none: the model returns
a label only, which gets probability 1."""


class Classification(msgspec.Struct, frozen=True):
    """The label of one text, and the probability of each label, in the order of the model."""

    label: str
    probabilities: dict[str, float]
    scores: ScoreSource


Classify = Callable[[Sequence[str]], list[Classification]]
"""A loaded model: one result per text, in order. Blocks; several threads may call it at one time."""


def checked_classification(label: str, probabilities: dict[str, float], scores: ScoreSource) -> Classification:
    """A result with finite probabilities.

    Raises:
        ArithmeticError: a probability is infinite or NaN, which JSON cannot represent.
    """
    if not all(map(math.isfinite, probabilities.values())):
        raise ArithmeticError("the model returned a probability that is not a number")
    return Classification(label, probabilities, scores)


def softmax(scores: Sequence[float]) -> list[float]:
    """Scores as probabilities. The highest score is subtracted first, so that ``exp`` does not overflow."""
    highest = max(scores)
    powers = [math.exp(score - highest) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]


def sigmoid(score: float) -> list[float]:
    """The score of a binary decision, positive for the second class, as two probabilities."""
    small = math.exp(-abs(score))  # never overflows
    first, second = small / (1 + small), 1 / (1 + small)
    return [first, second] if score >= 0 else [second, first]
