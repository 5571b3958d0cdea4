"""The engine for classical text classifiers: a model whose answer is a label with probabilities."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from onwards_py.engines.base import Body, Handler, Job, LoadError, Reply, Sink
from onwards_py.engines.classifier_answers import Answer, Dialect, listed
from onwards_py.engines.classifier_onnx import load_onnx
from onwards_py.engines.classifier_requests import (
    text_of_chat,
    text_of_prompt,
    texts_of_input,
    wants_stream,
    wants_usage,
)
from onwards_py.engines.classifier_sklearn import load_skops
from onwards_py.engines.classifier_verdict import Classify, Verdict
from onwards_py.engines.contract import Done, Order
from onwards_py.engines.packages import NotFound, find

_PICKLES = frozenset({".pkl", ".pickle", ".joblib"})
_AT_ONCE = 64
"""So many texts are computed before the next look at whether anybody still waits."""


class ClassifierEngine:
    """Serves ``/chat/completions``, ``/completions`` and ``/classify`` from a ``.skops`` or ``.onnx`` file."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._classify: Classify | None = None
        self.file = ""
        self.bytes = 0
        self.routes: Mapping[str, Handler] = {
            "/chat/completions": self._chat,
            "/completions": self._completion,
            "/classify": self._list,
        }

    def load(self) -> None:
        """Read the model and classify once, which shows that it does so and brings everything into memory.

        Raises:
            LoadError: there is no such file, it is of a kind that is not taken, or it does not classify texts.
        """
        name = Path(self._order.model).name
        if Path(name).suffix.lower() in _PICKLES:
            raise LoadError(
                f"{name} is a pickle, which may run any code when it is loaded: save the model by skops.io.dump."
            )
        try:
            model = find(self._order.model, "classifier")
            classify = load_skops(model.path) if model.kind == "skops" else load_onnx(model.path, self._order.threads)
        except NotFound as error:
            raise LoadError(str(error)) from error
        except OSError as error:
            raise LoadError(f"{name} cannot be read: {error.strerror}.") from error
        _try_out(model.path.name, classify)
        self.file, self.bytes, self._classify = model.path.name, model.bytes, classify

    def _chat(self, body: Body, sink: Sink, job: Job) -> Reply:
        return self._answer("chat", text_of_chat(body), body, sink, job)

    def _completion(self, body: Body, sink: Sink, job: Job) -> Reply:
        return self._answer("completion", text_of_prompt(body), body, sink, job)

    def _answer(self, dialect: Dialect, text: str, body: Body, sink: Sink, job: Job) -> Reply:
        stream, with_usage = wants_stream(body), wants_usage(body)
        verdicts, done = self._compute([text], 1, job)
        if job.stop.is_set():
            return Reply(None, done)
        answer = Answer(dialect, str(body["model"]), verdicts[0], done.prompt_tokens)
        if not stream:
            return Reply(answer.whole(), done)
        sink.begin()
        for data in answer.events(with_usage):
            if not sink.event(data):
                break
        return Reply(None, done)

    def _list(self, body: Body, _sink: Sink, job: Job) -> Reply:
        verdicts, done = self._compute(texts_of_input(body), 0, job)
        return Reply(None if job.stop.is_set() else listed(str(body["model"]), verdicts, done.prompt_tokens), done)

    def _compute(self, texts: Sequence[str], made: int, job: Job) -> tuple[list[Verdict], Done]:
        """Verdicts on all texts, or on fewer when the job is stopped; ``made``: how many tokens to report as made."""
        if self._classify is None:
            raise RuntimeError("asked before load()")
        verdicts: list[Verdict] = []
        words = 0
        start = time.perf_counter()
        while len(verdicts) < len(texts) and not job.stop.is_set():
            batch = texts[len(verdicts) : len(verdicts) + _AT_ONCE]
            verdicts += self._classify(batch)
            words += sum(len(text.split()) for text in batch)
        return verdicts, Done(words, made, time.perf_counter() - start, 0.0)


def _try_out(name: str, classify: Classify) -> None:
    try:
        classify(["Is this a text?", ""])
    except Exception as error:
        raise LoadError(
            f"{name} does not classify texts ({type(error).__name__}): "
            "it must take a list of strings, so save the vectorizer and the classifier as one pipeline."
        ) from error
