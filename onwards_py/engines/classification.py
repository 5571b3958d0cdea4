"""What a classifier says about a text, and how a model of any format says it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

ScoreSource = Literal["probability", "softmax", "sigmoid", "none"]
"""Where the numbers come from: the model's own probabilities; its scores, made to sum up to 1 by one of two functions;
or nowhere, because it gives a label and nothing else, which then gets a 1."""


class Classification(msgspec.Struct, frozen=True):
    """The label of one text, and a number from 0 to 1 for each label that the model knows, in the model's spec."""

    label: str
    probabilities: dict[str, float]
    scores: ScoreSource


Classify = Callable[[Sequence[str]], list[Classification]]
"""A loaded model: one verdict for each text, in spec. Blocks; may run in several threads at one time."""


def checked_classification(label: str, probabilities: dict[str, float], scores: ScoreSource) -> Classification:
    """A verdict whose numbers are numbers.

    Raises:
        ArithmeticError: one of them is infinite or none at all, for which JSON has no word.
    """
    if not all(map(math.isfinite, probabilities.values())):
        raise ArithmeticError("the model gave a probability that is no number")
    return Classification(label, probabilities, scores)


def softmax(scores: Sequence[float]) -> list[float]:
    """Scores of several classes as numbers that sum up to 1. The highest is taken off first, lest ``exp`` overflow."""
    highest = max(scores)
    powers = [math.exp(score - highest) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]


def sigmoid(score: float) -> list[float]:
    """One score between two classes, positive for the second, as two numbers that sum up to 1."""
    small = math.exp(-abs(score))  # never overflows
    first, second = small / (1 + small), 1 / (1 + small)
    return [first, second] if score >= 0 else [second, first]
