"""Text classifiers in ONNX, as ``skl2onnx`` writes them: a string goes in, a label and probabilities come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

import msgspec

from onwards_py.engines.base import LoadError
from onwards_py.engines.classification import Classification, Classify, checked_classification
from onwards_py.engines.model_finder import install_hint


class _Port(Protocol):
    """An input or output of a model. ``shape``: numbers, names of variable dimensions, or None."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def shape(self) -> list[object]: ...


class _Meta(Protocol):
    @property
    def custom_metadata_map(self) -> Mapping[str, str]: ...


class _Session(Protocol):
    """The part of ``onnxruntime.InferenceSession`` that is used here."""

    def get_inputs(self) -> list[_Port]: ...
    def get_outputs(self) -> list[_Port]: ...
    def get_modelmeta(self) -> _Meta: ...
    def run(self, outputs: list[str], inputs: Mapping[str, object], options: object, /) -> list[object]: ...


_LABELS = frozenset({"tensor(string)", "tensor(int64)"})
_MAPS = frozenset({"seq(map(string,tensor(float)))", "seq(map(int64,tensor(float)))"})
_TENSORS = frozenset({"tensor(float)", "tensor(double)"})
_QUIET = 4

_Rows = Callable[[object], list[dict[str, float]]]
"""Converts the second output to one dictionary per text."""


def load_onnx(path: Path, threads: int) -> Classify:
    """The model of an ``.onnx`` file, run on the CPU with ``threads`` threads.

    Raises:
        LoadError: onnxruntime is missing or cannot read the file, or inputs and outputs are not those of a text
            classifier.
    """
    try:
        import numpy as np
        import onnxruntime
    except ImportError:
        raise LoadError(f"An .onnx model needs onnxruntime: {install_hint('classifier')}.") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads use no CPU
    options.log_severity_level = _QUIET
    try:
        session: _Session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise LoadError(_load_error_message(path.name, error)) from error
    source, shape = _text_input(path.name, session.get_inputs())
    names = [port.name for port in session.get_outputs()]
    rows = _reader_of_outputs(path.name, session)
    run_options = onnxruntime.RunOptions()
    run_options.log_severity_level = _QUIET  # its messages may quote the text

    def classify(texts: Sequence[str]) -> list[Classification]:
        batch = np.array(texts, dtype=object).reshape(shape)
        given = session.run(names, {source: batch}, run_options)
        labels = [str(label) for label in cast("np.ndarray[tuple[int], np.dtype[np.object_]]", given[0]).tolist()]
        if rows is None:
            return [checked_classification(label, {label: 1.0}, "none") for label in labels]
        return [checked_classification(*pair, "probability") for pair in zip(labels, rows(given[1]), strict=True)]

    return classify


def _load_error_message(name: str, error: Exception) -> str:
    if "locale" in str(error):
        return (
            f"{name} asks for a locale that this machine does not have: install it, or convert the model "
            'with the option {TfidfVectorizer: {"locale": "C.UTF-8"}}.'
        )
    return f"{name} cannot be read by onnxruntime ({type(error).__name__})."


def _text_input(name: str, inputs: list[_Port]) -> tuple[str, tuple[int, ...]]:
    """The name of the input, and the shape of a batch."""
    if len(inputs) == 1 and inputs[0].type == "tensor(string)":
        shape = inputs[0].shape
        if len(shape) == 1:
            return inputs[0].name, (-1,)
        if len(shape) == 2 and (shape[1] == 1 or not isinstance(shape[1], int)):
            return inputs[0].name, (-1, 1)
    found = ", ".join(f"{port.name}: {port.type} {port.shape}" for port in inputs)
    raise LoadError(f"{name} must have one input of texts, tensor(string) of shape [n, 1] or [n]; it has {found}.")


def _reader_of_outputs(name: str, session: _Session) -> _Rows | None:
    """The function that reads the second output; None if the model returns labels only."""
    outputs = session.get_outputs()
    kinds = [port.type for port in outputs]
    if kinds and kinds[0] in _LABELS:
        if len(kinds) == 1:
            return None
        if len(kinds) == 2 and kinds[1] in _MAPS:
            return _of_maps
        if len(kinds) == 2 and kinds[1] in _TENSORS:
            return _of_tensor(_class_names(name, session.get_modelmeta().custom_metadata_map))
    found = ", ".join(f"{port.name}: {port.type}" for port in outputs)
    raise LoadError(f"{name} must give labels (strings or integers), then their probabilities; it gives {found}.")


def _of_maps(output: object) -> list[dict[str, float]]:
    """skl2onnx's ZipMap: a list of dictionaries."""
    maps = cast("list[dict[object, float]]", output)
    return [{str(label): value for label, value in one.items()} for one in maps]


def _of_tensor(labels: list[str]) -> _Rows:
    def read(output: object) -> list[dict[str, float]]:
        rows: list[list[float]] = output.tolist()  # type: ignore[attr-defined]
        return [dict(zip(labels, row, strict=True)) for row in rows]

    return read


def _class_names(name: str, metadata: Mapping[str, str]) -> list[str]:
    """The labels of a tensor of probabilities, from the metadata; a wrong guess would go unnoticed."""
    try:
        classes = msgspec.json.decode(metadata.get("classes", ""), type=list[str | int])
    except msgspec.MsgspecError:
        raise LoadError(
            f"{name} does not say which class each probability is of: convert it with zipmap, "
            "or add the classes to its metadata_props as a JSON list named 'classes'."
        ) from None
    return [str(label) for label in classes]
