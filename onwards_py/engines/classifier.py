"""The engine for classical text classifiers: a model whose answer is a label with probabilities."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from onwards_py.engines.base import Body, EngineResult, EventSink, Job, LoadError, RouteHandler
from onwards_py.engines.classification import Classification, Classify
from onwards_py.engines.classifier_onnx import load_onnx
from onwards_py.engines.classifier_requests import (
    text_of_chat,
    text_of_prompt,
    texts_of_input,
    wants_stream,
    wants_usage,
)
from onwards_py.engines.classifier_responses import Api, ClassifierResponse, classify_response
from onwards_py.engines.classifier_sklearn import load_skops
from onwards_py.engines.model_finder import ModelNotFound, find_model
from onwards_py.engines.protocol import ComputeCost, LaunchSpec

_PICKLES = frozenset({".pkl", ".pickle", ".joblib"})
_BATCH_SIZE = 64
"""Texts computed between two checks of ``job.stop``."""


class ClassifierEngine:
    """Serves ``/chat/completions``, ``/completions`` and ``/classify`` from a ``.skops`` or ``.onnx`` file."""

    def __init__(self, spec: LaunchSpec) -> None:
        self._spec = spec
        self._classify: Classify | None = None
        self.file = ""
        self.bytes = 0
        self.routes: Mapping[str, RouteHandler] = {
            "/chat/completions": self._chat,
            "/completions": self._completion,
            "/classify": self._list,
        }

    def load(self) -> None:
        """Read the model and classify once, which tests the model and loads everything into memory.

        Raises:
            LoadError: there is no such file, its format is not supported, or it does not classify texts.
        """
        name = Path(self._spec.model).name
        if Path(name).suffix.lower() in _PICKLES:
            raise LoadError(
                f"{name} is a pickle, which may run any code when it is loaded: save the model by skops.io.dump."
            )
        try:
            model = find_model(self._spec.model, "classifier")
            classify = load_skops(model.path) if model.format == "skops" else load_onnx(model.path, self._spec.threads)
        except ModelNotFound as error:
            raise LoadError(str(error)) from error
        except OSError as error:
            raise LoadError(f"{name} cannot be read: {error.strerror}.") from error
        _test(model.path.name, classify)
        self.file, self.bytes, self._classify = model.path.name, model.bytes, classify

    def _chat(self, body: Body, sink: EventSink, job: Job) -> EngineResult:
        return self._answer("chat", text_of_chat(body), body, sink, job)

    def _completion(self, body: Body, sink: EventSink, job: Job) -> EngineResult:
        return self._answer("completion", text_of_prompt(body), body, sink, job)

    def _answer(self, api: Api, text: str, body: Body, sink: EventSink, job: Job) -> EngineResult:
        stream, with_usage = wants_stream(body), wants_usage(body)
        results, cost = self._compute([text], 1, job)
        if job.stop.is_set():
            return EngineResult(None, cost)
        answer = ClassifierResponse(api, str(body["model"]), results[0], cost.prompt_tokens)
        if not stream:
            return EngineResult(answer.body(), cost)
        sink.begin()
        for data in answer.events(with_usage):
            if not sink.event(data):
                break
        return EngineResult(None, cost)

    def _list(self, body: Body, _sink: EventSink, job: Job) -> EngineResult:
        results, cost = self._compute(texts_of_input(body), 0, job)
        return EngineResult(
            None if job.stop.is_set() else classify_response(str(body["model"]), results, cost.prompt_tokens), cost
        )

    def _compute(self, texts: Sequence[str], made: int, job: Job) -> tuple[list[Classification], ComputeCost]:
        """Results for all texts, or for fewer if the job is stopped. ``made``: completion tokens to report."""
        if self._classify is None:
            raise RuntimeError("called before load()")
        results: list[Classification] = []
        words = 0
        start = time.perf_counter()
        while len(results) < len(texts) and not job.stop.is_set():
            batch = texts[len(results) : len(results) + _BATCH_SIZE]
            results += self._classify(batch)
            words += sum(len(text.split()) for text in batch)
        return results, ComputeCost(words, made, time.perf_counter() - start, 0.0)


def _test(name: str, classify: Classify) -> None:
    try:
        classify(["Is this a text?", ""])
    except Exception as error:
        raise LoadError(
            f"{name} does not classify texts ({type(error).__name__}): "
            "it must take a list of strings, so save the vectorizer and the classifier as one pipeline."
        ) from error
