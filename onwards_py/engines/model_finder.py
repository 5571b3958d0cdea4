"""Finds model files: files of the user, and files in installed Python packages.

Packages are never imported, because they may need libraries that are not installed; only their metadata is read.
Messages contain the last part of a path only, because clients may see them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from onwards_py.engines.install_command import InstallCommand
from onwards_py.engines.protocol import EngineName

ModelFormat = Literal["gguf", "sentence_transformers", "skops", "onnx"]

PACKAGE: Final = "package:"
_FORMATS_OF: Final[dict[EngineName, tuple[ModelFormat, ...]]] = {
    "llama_cpp": ("gguf",),
    "embedding": ("gguf", "sentence_transformers"),
    "classifier": ("skops", "onnx"),
}
_DESCRIPTIONS: Final[dict[ModelFormat, str]] = {
    "gguf": "a GGUF file",
    "sentence_transformers": "a sentence-transformers folder",
    "skops": "a .skops file",
    "onnx": "an .onnx file",
}
_MODULES_OF: Final[dict[tuple[EngineName, ModelFormat], tuple[str, ...]]] = {
    ("llama_cpp", "gguf"): ("xllamacpp",),
    ("embedding", "gguf"): ("xllamacpp", "numpy"),
    ("embedding", "sentence_transformers"): ("xllamacpp", "numpy", "gguf"),
    ("classifier", "skops"): ("skops", "sklearn"),
    ("classifier", "onnx"): ("onnxruntime",),
}
_SUFFIXES: Final[dict[str, ModelFormat]] = {".gguf": "gguf", ".skops": "skops", ".onnx": "onnx"}
_WEIGHTS: Final = "model.safetensors"
_FOLDER: Final = ("modules.json", "config.json", "tokenizer.json", _WEIGHTS)
_EXTRAS: Final[dict[EngineName, str]] = {"llama_cpp": "local", "embedding": "local", "classifier": "classifier"}
# PEP 508, section "Names".
_NAME: Final = re.compile(r"[A-Z0-9](?:[A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE)
# Not models: later parts of a GGUF model in several files, and image projectors.
_PARTS: Final = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$|^mmproj")
# Runtimes contain small graphs for their tests.
_LEAST_BYTES: Final = 4096
_HEAD_BYTES: Final = 1024 * 1024
_TEST_FOLDERS: Final = frozenset({"test", "tests", "testing", "testdata", "datasets", "backend"})


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An existing model. ``path``: its file or folder. ``bytes``: the size of its weights. ``source``: its name in a
    configuration."""

    path: Path
    format: ModelFormat
    bytes: int
    source: str

    def engines(self) -> list[EngineName]:
        """The engines for this model. Reads the header of a GGUF file; raises OSError."""
        if self.format == "gguf":
            with self.path.open("rb") as file:
                # Only embedding models have a pooling type; it precedes the vocabulary in the file.
                return ["embedding" if b".pooling_type" in file.read(_HEAD_BYTES) else "llama_cpp"]
        return [engine for engine, formats in _FORMATS_OF.items() if self.format in formats]


class ModelNotFound(Exception):
    """The model does not exist, or the engine cannot load it. The text is the remedy; clients may see it.

    ``package``: the package to install, if one is missing.
    """

    def __init__(self, text: str, package: str | None = None) -> None:
        super().__init__(text)
        self.package = package


def find_model(model: str, engine: EngineName) -> ModelFile:
    """The model by its name in a configuration: a path (``~`` is the home folder), ``package:NAME``, or
    ``package:NAME/file`` if a package contains several models. Raises `ModelNotFound`."""
    if model.startswith(PACKAGE):
        return _shipped_by(model, engine)
    path = Path(model)
    try:
        path = path.expanduser()
        found = _model_at(path, model)
    except OSError as error:
        raise ModelNotFound(f"{path.name}: {error.strerror or 'cannot be read'}") from None
    except RuntimeError:
        raise ModelNotFound(f"{path.name}: no such home folder") from None
    if found.format not in _FORMATS_OF[engine]:
        raise ModelNotFound(f"{path.name} is {_DESCRIPTIONS[found.format]}; {_loadable_by(engine)}")
    return found


def install_hint(engine: EngineName) -> str:
    """How to install the libraries of ``engine``, without paths, because clients may see it."""
    return f"install the extra '{_EXTRAS[engine]}' of onwards-py ('onwards-py models' says by which command)"


def missing_requirements(model: str, engine: EngineName, how: InstallCommand | None = None) -> str | None:
    """What must be installed or changed for ``engine`` to load ``model``; None if nothing. Imports nothing.

    ``how``: the command for the operator, which contains paths; None: the text is for clients.
    """
    try:
        formats: tuple[ModelFormat, ...] = (find_model(model, engine).format,)
        reason = None
    except ModelNotFound as error:
        formats, reason = _FORMATS_OF[engine], str(error)
        if how is not None and error.package is not None:
            reason = _not_installed(error.package, how.package(error.package))
    # A missing model may have any format: it suffices if the libraries of one format are installed.
    unmet = [_missing_modules(engine, format_) for format_ in formats]
    if not all(unmet):
        return reason
    remedy = install_hint(engine) if how is None else how.extra(_EXTRAS[engine])
    need = f"the engine {engine} needs {', '.join(unmet[0])}: {remedy}"
    return need if reason is None else f"{reason}; {need}"


def installed_models() -> list[ModelFile]:
    """The models in installed packages, sorted by name."""
    found: dict[str, ModelFile] = {}
    for package in distributions():
        name = package.name
        if isinstance(name, str) and name not in found:  # the first one on the path is imported
            for model in _shipped(package, PACKAGE + _normalised(name)):
                found.setdefault(model.source, model)
    return sorted(found.values(), key=lambda model: model.source)


def _shipped_by(model: str, engine: EngineName) -> ModelFile:
    name, _, wanted = model.removeprefix(PACKAGE).partition("/")
    if _NAME.fullmatch(name) is None:
        raise ModelNotFound(f"{model!r} names no package: write package:NAME, or package:NAME/file")
    try:
        package = distribution(name)
    except PackageNotFoundError:
        raise ModelNotFound(_not_installed(name, InstallCommand("pip install").package(name)), name) from None
    all_models = list(_shipped(package, PACKAGE + _normalised(name)))
    models = [one for one in all_models if one.format in _FORMATS_OF[engine] and _path_ends_with(one.path, wanted)]
    if len(models) == 1:
        return models[0]
    if models:
        raise ModelNotFound(f"the package {name} ships several models: choose {_any_of(models)}")
    if not all_models:
        raise ModelNotFound(f"the package {name} ships no model")
    raise ModelNotFound(f"the package {name} ships no such model for {engine}, only {_any_of(all_models)}")


def _not_installed(name: str, command: str) -> str:
    return f"the package {name} is not installed: {command}"


def _path_ends_with(path: Path, wanted: str) -> bool:
    steps = tuple(step for step in wanted.split("/") if step)
    return path.parts[len(path.parts) - len(steps) :] == steps


def _any_of(models: list[ModelFile]) -> str:
    return " or ".join(sorted(model.source for model in models))


def _shipped(package: Distribution, source: str) -> Iterator[ModelFile]:
    """The models among the files of a package, with distinct sources."""
    models = []
    for name in _candidates(package):
        with suppress(OSError, ModelNotFound):  # a recorded file that is missing or not a model
            models.append(_model_at(Path(str(package.locate_file(name))), source))
    models = [model for model in models if model.bytes >= _LEAST_BYTES]
    if len(models) == 1:
        yield models[0]
        return
    names = _short_names([model.path for model in models])
    for model in models:
        yield replace(model, source=f"{source}/{names[model.path]}")


def _candidates(package: Distribution) -> Iterator[str]:
    """Names of files and folders that may be models, from the package's RECORD."""
    record = package.read_text("RECORD") or ""
    endings = (*_SUFFIXES, f"/{_WEIGHTS}")
    if not any(ending in record for ending in endings):
        return
    for file in package.files or ():
        name = PurePosixPath(file)
        if not _TEST_FOLDERS.isdisjoint(name.parts) or _PARTS.search(name.name) is not None:
            continue
        if name.name == _WEIGHTS:
            yield str(name.parent)
        elif name.suffix in _SUFFIXES:
            yield str(name)


def _short_names(paths: list[Path]) -> dict[Path, str]:
    """The shortest distinct endings of all paths."""
    names = {}
    for path in paths:
        length = 1
        while sum(other.parts[-length:] == path.parts[-length:] for other in paths) > 1:
            length += 1
        names[path] = "/".join(path.parts[-length:])
    return names


def _model_at(path: Path, written: str) -> ModelFile:
    if not path.exists():
        raise ModelNotFound(f"{path.name}: no such file")
    format_ = _format_of(path)
    if format_ is None:
        if path.is_dir():
            raise ModelNotFound(f"{path.name} is a folder without {_absent(path)}, so not a model that can be loaded")
        raise ModelNotFound(f"{path.name} is not a model: neither GGUF, nor .skops or .onnx")
    return ModelFile(path, format_, _size(path, format_), written)


def _absent(folder: Path) -> str:
    return next(name for name in _FOLDER if not (folder / name).is_file())


def _format_of(path: Path) -> ModelFormat | None:
    """The format of a file or folder; None if it is not a model. Raises OSError."""
    if path.is_dir():
        return "sentence_transformers" if all((path / name).is_file() for name in _FOLDER) else None
    format_ = _SUFFIXES.get(path.suffix)
    if format_ not in (None, "gguf"):
        return format_
    with path.open("rb") as file:  # model stores keep GGUF files under digests, without a suffix
        return "gguf" if file.read(4) == b"GGUF" else None


def _size(path: Path, format_: ModelFormat) -> int:
    return (path / _WEIGHTS if format_ == "sentence_transformers" else path).stat().st_size


def _loadable_by(engine: EngineName) -> str:
    return f"the engine {engine} loads {' or '.join(_DESCRIPTIONS[format_] for format_ in _FORMATS_OF[engine])}"


def _missing_modules(engine: EngineName, format_: ModelFormat) -> list[str]:
    return [module for module in _MODULES_OF[engine, format_] if find_spec(module) is None]


def _normalised(name: str) -> str:
    """PEP 503, section "Normalized Names"."""
    return re.sub(r"[-_.]+", "-", name).lower()
