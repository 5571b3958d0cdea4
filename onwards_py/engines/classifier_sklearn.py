"""Text classifiers of scikit-learn, read from skops files without running code of the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

from onwards_py.engines.base import LoadError
from onwards_py.engines.classification import (
    Classification,
    Classify,
    ScoreSource,
    checked_classification,
    sigmoid,
    softmax,
)
from onwards_py.engines.model_finder import install_hint


class _Array(Protocol):
    """The part of a numpy array that is used here."""

    def tolist(self) -> list[object]: ...


_Method = Callable[[Sequence[str]], _Array]


def load_skops(path: Path) -> Classify:
    """The model of a ``.skops`` file: an estimator, usually a pipeline, that takes texts.

    Raises:
        LoadError: a library is missing, the file is not a skops file, it holds types that skops does not trust by
            default, or what it holds does not classify texts.
    """
    try:
        import sklearn
    except ImportError:
        raise LoadError(f"A .skops model needs scikit-learn and skops: {install_hint('classifier')}.") from None
    model = _read(path)
    _refuse_regressors(path, model)
    compute_in_one_thread(model)
    classify = _best_method(path, model)

    def configured(texts: Sequence[str]) -> list[Classification]:
        # The configuration is per thread, so it cannot be set once at loading. Parameters and features were checked
        # when the model was made; checking them again would take a fifth of the time for one text.
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            return classify(texts)

    return configured


def _read(path: Path) -> object:
    try:
        import skops.io
        from skops.io.exceptions import UntrustedTypesFoundException
    except ImportError:
        raise LoadError(f"A .skops model needs scikit-learn and skops: {install_hint('classifier')}.") from None
    data = path.read_bytes()
    try:
        model: object = skops.io.loads(data)
    except UntrustedTypesFoundException:
        names = ", ".join(sorted(skops.io.get_untrusted_types(data=data)))
        raise LoadError(
            f"{path.name} holds types that are not known to be safe, so it is not loaded: {names}. "
            "Make the model of scikit-learn's own parts, without functions or classes of yours, or convert it to ONNX."
        ) from None
    except Exception as error:
        raise LoadError(
            f"{path.name} cannot be read by skops ({type(error).__name__}): "
            "save the model by skops.io.dump, with the versions of skops and scikit-learn that are installed here."
        ) from error
    return model


def _refuse_regressors(path: Path, model: object) -> None:
    from sklearn.base import is_regressor

    if not hasattr(model, "predict") or is_regressor(model):
        raise LoadError(f"{path.name} holds a {type(model).__name__}, which is not a classifier.")


def compute_in_one_thread(model: object) -> None:
    """Disable ``n_jobs``: for one text, a pool of threads or processes costs more than it saves."""
    parameters = cast("Callable[[], dict[str, object]]", getattr(model, "get_params", dict))()
    parallel = {name: None for name in parameters if name.rpartition("__")[2] == "n_jobs"}
    if parallel:
        cast("Callable[..., object]", model.set_params)(**parallel)  # type: ignore[attr-defined]


def _best_method(path: Path, model: object) -> Classify:
    """The most informative method of the estimator: probabilities, else scores, else the label only."""
    classes = getattr(model, "classes_", None)
    methods = [name for name in ("predict_proba", "decision_function") if hasattr(model, name)]
    if classes is None or not methods:
        return _by_label(cast("_Method", model.predict))  # type: ignore[attr-defined]
    if getattr(classes, "ndim", None) != 1:
        raise LoadError(f"{path.name} gives several labels for a text; a classifier here gives one.")
    labels = [str(label) for label in cast("_Array", classes).tolist()]
    return _by_scores(cast("_Method", getattr(model, methods[0])), labels, methods[0] == "predict_proba")


def _by_label(predict: _Method) -> Classify:
    def classify(texts: Sequence[str]) -> list[Classification]:
        labels = [str(label) for label in predict(texts).tolist()]
        return [checked_classification(label, {label: 1.0}, "none") for label in labels]

    return classify


def _by_scores(method: _Method, labels: list[str], are_probabilities: bool) -> Classify:
    def classify(texts: Sequence[str]) -> list[Classification]:
        return [_classification_of(labels, row, are_probabilities) for row in method(texts).tolist()]

    return classify


def _classification_of(labels: list[str], row: object, are_probabilities: bool) -> Classification:
    scores: ScoreSource
    if isinstance(row, float):  # a decision between two classes is one number
        values, scores = sigmoid(row), "sigmoid"
    else:
        values = cast("list[float]", row)
        scores = "probability" if are_probabilities else "softmax"
        values = values if are_probabilities else softmax(values)
    probabilities = dict(zip(labels, values, strict=True))
    return checked_classification(max(labels, key=probabilities.__getitem__), probabilities, scores)
