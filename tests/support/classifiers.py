"""A real classifier, trained in a moment: how hard is what a user asks?"""

from __future__ import annotations

from pathlib import Path

import pytest

HARD = "prove that the theorem of number {n} holds for all primes"
EASY = "hello my friend number {n} what a nice day"


def train(folder: Path) -> Path:
    """The file of a linear text model with the labels ``hard`` and ``easy``; skips where it cannot be made."""
    skops = pytest.importorskip("skops.io", reason="the extra 'local' is not installed")
    pytest.importorskip("sklearn", reason="the extra 'local' is not installed")
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = [kind.format(n=n) for kind in (HARD, EASY) for n in range(20)]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, ["hard"] * 20 + ["easy"] * 20)
    path = folder / "difficulty.skops"
    skops.dump(model, path)
    return path
