"""Embeddings by llama.cpp, in this process.

The model is a GGUF file, or a sentence-transformers folder, which is converted once. Requests are computed in batches
of about one window, so that a request can be stopped soon after its client has left.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import orjson

from onwards_py.engines import bert_to_gguf, llama_binding
from onwards_py.engines.base import (
    Body,
    EngineError,
    EngineResult,
    EventSink,
    Job,
    LoadError,
    RouteHandler,
    bad_request,
)
from onwards_py.engines.embedding_request import EmbeddingRequest, Input, parse_request
from onwards_py.engines.gguf_header import context_length
from onwards_py.engines.model_finder import ModelNotFound, find_model
from onwards_py.engines.protocol import DEFAULT_CONTEXT, ComputeCost, LaunchSpec
from onwards_py.engines.wordpiece import WordPiece

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SILENT: Final = -1
_EUCLIDEAN: Final = 2
_MOST_PER_PORTION: Final = 32
# Only blank text has more characters per token; longer inputs are rejected without tokenising them.
_MOST_CHARACTERS_PER_TOKEN: Final = 256
_TOO_LONG: Final = re.compile(r"\((\d+) tokens\).*(?:too large|exceeds)")


class _Vector(msgspec.Struct):
    embedding: str
    index: int


class _Usage(msgspec.Struct):
    prompt_tokens: int


class _Error(msgspec.Struct):
    code: int = 500
    message: str = ""


class _EmbeddingsResponse(msgspec.Struct):
    """The response of llama.cpp: vectors with usage, or an error."""

    data: list[_Vector] = []
    usage: _Usage = msgspec.field(default_factory=lambda: _Usage(0))
    error: _Error | None = None


class EmbeddingEngine:
    """One model. ``window``: most tokens of one input. ``dimension``: length of a vector."""

    def __init__(self, spec: LaunchSpec) -> None:
        self._spec = spec
        self._server: llama_binding.Server | None = None
        self._tokenizer: WordPiece | None = None
        self.window = 0
        self.dimension = 0
        self.file = ""
        self.bytes = 0

    @property
    def routes(self) -> Mapping[str, RouteHandler]:
        return {"/embeddings": self.embed}

    def load(self) -> None:
        """See `onwards_py.engines.base.Engine.load`."""
        try:
            model = find_model(self._spec.model, "embedding")
        except ModelNotFound as error:
            raise LoadError(str(error)) from None
        if model.format == "gguf":
            self._start(model.path)
        else:
            self._start_converted(model.path)
            self._tokenizer = WordPiece.read((model.path / "tokenizer.json").read_bytes())
        self._test(model.path.name)
        self.file = model.path.name if model.format == "gguf" else bert_to_gguf.title(model.path)
        self.bytes = model.bytes

    def _start_converted(self, folder: Path) -> None:
        cache = Path(self._spec.cache)
        file = bert_to_gguf.converted(folder, cache)
        try:
            self._start(file)
        except LoadError:  # the cached file may be damaged
            bert_to_gguf.discard(file)
            self._start(bert_to_gguf.converted(folder, cache))

    def _start(self, file: Path) -> None:
        binding = llama_binding.binding()
        try:
            trained = context_length(file)
        except (ValueError, OSError) as error:
            raise LoadError(f"{file.name} cannot be read: {error}.") from None
        # Unlike chat models, embedding models have no positions beyond their window.
        self.window = min(self._spec.context or DEFAULT_CONTEXT, trained or DEFAULT_CONTEXT)
        back_door = Path(f"{self._spec.socket}.sock")  # llama.cpp recognises a Unix socket by this suffix
        back_door.unlink(missing_ok=True)
        params = binding.CommonParams()
        llama_binding.assign(params, self._settings(file, back_door))
        try:
            self._server = binding.Server(params)
        except (RuntimeError, ValueError) as error:
            raise LoadError(
                f"llama.cpp cannot load {file.name}: is it a whole GGUF file of a kind that this version knows, and is"
                " there memory enough for it?"
            ) from error
        finally:
            back_door.unlink(
                missing_ok=True
            )  # llama.cpp's listener cannot be disabled; without its name it is unreachable

    def _settings(self, file: Path, back_door: Path) -> Mapping[str, object]:
        spec = self._spec
        return {
            **llama_binding.settings_for(spec, file, back_door),
            "embedding": True,
            "embd_normalize": _EUCLIDEAN,
            "n_ctx": self.window * spec.slots,
            # Attention is bidirectional, so an input must be processed in one batch.
            "n_batch": self.window,
            "n_ubatch": self.window,
        }

    def _test(self, name: str) -> None:
        """Compute one embedding, which tests the model and shows the dimension of its vectors."""
        answer = self._embed_batch(["a"])
        if answer.error is not None or not answer.data:
            raise LoadError(f"{name} does not return one vector per text: it is not an embedding model")
        self.dimension = len(_decoded(answer.data[0].embedding))

    def embed(self, body: Body, _sink: EventSink, job: Job) -> EngineResult:
        """``POST /embeddings``."""
        request = parse_request(body, self.dimension)
        began = time.monotonic()
        inputs = self._prepared(request.inputs, job)
        tokens = 0
        vectors: list[NDArray[np.float32]] = []
        for batch in _batches(inputs, self.window):
            if job.stop.is_set():
                return EngineResult(None, ComputeCost(tokens, 0, time.monotonic() - began, 0.0))
            answer = self._embed_batch(batch)
            if answer.error is not None:
                raise self._error_of(answer.error, batch, len(vectors))
            tokens += answer.usage.prompt_tokens
            vectors += [_decoded(one.embedding) for one in sorted(answer.data, key=lambda one: one.index)]
        return EngineResult(
            _response(request, str(body["model"]), vectors, tokens),
            ComputeCost(tokens, 0, time.monotonic() - began, 0.0),
        )

    def _prepared(self, inputs: list[Input], job: Job) -> list[Input]:
        """The inputs for llama.cpp. Raises `EngineError` for an input that is certainly too long."""
        prepared: list[Input] = []
        for number, given in enumerate(inputs):
            if job.stop.is_set():
                break
            if isinstance(given, str) and len(given) > self.window * _MOST_CHARACTERS_PER_TOKEN:
                raise self._too_long(number, f"{len(given)} characters")
            ids = self._tokenizer.encode(given) if self._tokenizer is not None and isinstance(given, str) else given
            if not isinstance(ids, str) and len(ids) > self.window:
                raise self._too_long(number, f"{len(ids)} tokens")
            prepared.append(ids)
        return prepared

    def _embed_batch(self, batch: list[Input]) -> _EmbeddingsResponse:
        if self._server is None:
            raise RuntimeError("not loaded")
        # Always base64: it is exact, and faster to parse than numbers.
        request = {"input": batch, "encoding_format": "base64"}
        return msgspec.json.decode(
            self._server.handle_embeddings(orjson.dumps(request).decode()), type=_EmbeddingsResponse
        )

    def _error_of(self, error: _Error, batch: list[Input], first: int) -> EngineError:
        """The error for the client. llama.cpp does not identify the wrong input, so each input is tried alone."""
        for number, given in enumerate(batch, first):
            alone = error if len(batch) == 1 else self._embed_batch([given]).error
            if alone is None:
                continue
            if match := _TOO_LONG.search(alone.message):
                return self._too_long(number, f"{match[1]} tokens")
            if 400 <= alone.code < 500:
                return bad_request(f"input[{number}] cannot be embedded: {alone.message}.", "input")
        return EngineError(500, "The local model failed.", type="server_error", code="engine_error")

    def _too_long(self, number: int, size: str) -> EngineError:
        return bad_request(
            f"input[{number}] has {size}; this model reads at most {self.window} tokens. Please shorten or split it.",
            "input",
            "context_length_exceeded",
        )


def _batches(inputs: list[Input], tokens: int) -> Iterator[list[Input]]:
    """The inputs in order, in groups of about ``tokens`` tokens, and at least one input."""
    batch: list[Input] = []
    weight = 0
    for given in inputs:
        own = len(given) // 3 if isinstance(given, str) else len(given)
        if batch and (weight + own > tokens or len(batch) == _MOST_PER_PORTION):
            yield batch
            batch, weight = [], 0
        batch.append(given)
        weight += own
    if batch:
        yield batch


def _decoded(encoded: str) -> NDArray[np.float32]:
    import numpy as np

    return np.frombuffer(base64.b64decode(encoded), "<f4")


def _response(request: EmbeddingRequest, model: str, vectors: list[NDArray[np.float32]], tokens: int) -> bytes:
    vectors = [_truncated(vector, request.dimensions) for vector in vectors]
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode() if request.as_base64 else vector,
        }
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "data": data, "model": model, "usage": usage}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _truncated(vector: NDArray[np.float32], dimensions: int | None) -> NDArray[np.float32]:
    """The first ``dimensions`` components, normalised."""
    import numpy as np

    if dimensions is None or dimensions == len(vector):
        return vector
    cut = vector[:dimensions]
    length = max(float(np.linalg.norm(cut)), float(np.finfo(np.float32).tiny))
    return (cut / length).astype(np.float32)
