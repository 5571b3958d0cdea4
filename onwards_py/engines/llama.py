"""Chat Completions and Completions by llama.cpp, in this process, through its Python binding ``xllamacpp``.

The binding is llama.cpp's own server code; requests are passed to it as JSON and answered chunk by chunk. Its HTTP
listener cannot be disabled, so it listens on a second Unix socket, whose name is removed after a request for the
properties of the template: then it is unreachable.
"""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson

from onwards_py.engines import llama_binding, llama_errors
from onwards_py.engines.base import Body, EngineResult, EventSink, Job, LoadError, RouteHandler
from onwards_py.engines.chunk_assembler import ChunkAssembler, Json
from onwards_py.engines.gguf_header import context_length
from onwards_py.engines.llama_binding import Callback, Server
from onwards_py.engines.llama_chunks import ChunkRewriter
from onwards_py.engines.llama_request import CompletionPlan, chat_plan, completion_plan
from onwards_py.engines.model_finder import ModelNotFound, find_model
from onwards_py.engines.protocol import DEFAULT_CONTEXT, LaunchSpec

# Prompt tokens between two checks of ``job.stop``. Measured: 256 is as fast as 2048, 128 is 13 % slower.
_BATCH = 256


class LlamaEngine:
    """One GGUF model."""

    def __init__(self, spec: LaunchSpec) -> None:
        self._spec = spec
        self._has_tools = False
        self._server: Server | None = None
        self.file = ""
        self.bytes = 0

    @property
    def routes(self) -> Mapping[str, RouteHandler]:
        return {"/chat/completions": self.chat, "/completions": self.complete}

    def load(self) -> None:
        """See `onwards_py.engines.base.Engine.load`."""
        binding = llama_binding.binding()
        try:
            model = find_model(self._spec.model, "llama_cpp")
        except ModelNotFound as error:
            raise LoadError(str(error)) from None
        back_door = Path(f"{self._spec.socket}.sock")  # llama.cpp recognises a Unix socket by this suffix
        params = binding.CommonParams()
        llama_binding.assign(params, self.settings(model.path, back_door))
        try:
            self._server = binding.Server(params)
            self._has_tools = _template_has_tools(back_door)
        except (RuntimeError, ValueError, MemoryError, OSError) as error:
            raise LoadError(
                f"llama.cpp cannot load {model.path.name}: is it a whole GGUF file of a kind that this version knows,"
                " and is there memory enough for it and for its context?"
            ) from error
        finally:
            back_door.unlink(missing_ok=True)
        self.file, self.bytes = model.path.name, model.bytes

    def settings(self, model: Path, back_door: Path) -> Mapping[str, object]:
        """Parameters of llama.cpp by name; dots separate nested names. Raises `LoadError`."""
        spec = self._spec
        try:
            trained = context_length(model)
        except (ValueError, OSError) as error:
            raise LoadError(f"{model.name} cannot be read: {error}.") from None
        context = min(spec.context or DEFAULT_CONTEXT, trained or DEFAULT_CONTEXT)
        return {
            **llama_binding.settings_for(spec, model, back_door),
            "n_ctx": context * spec.slots,
            "n_batch": _BATCH,
            "n_ubatch": _BATCH,
            "use_jinja": True,
            "sse_ping_interval": -1,
        }

    def chat(self, body: Body, sink: EventSink, job: Job) -> EngineResult:
        """``POST /chat/completions``."""
        plan = chat_plan(body, has_tools=self._has_tools)
        run = _Run(plan, ChunkRewriter(str(body["model"]), plan.top, legacy=False), sink, job, body)
        return run.all(self.server.handle_chat_completions)

    def complete(self, body: Body, sink: EventSink, job: Job) -> EngineResult:
        """``POST /completions``."""
        plan = completion_plan(body)
        run = _Run(plan, ChunkRewriter(str(body["model"]), plan.top, legacy=True), sink, job, body)
        return run.all(self.server.handle_completions)

    @property
    def server(self) -> Server:
        """The server object of llama.cpp. Valid after `load`."""
        if self._server is None:
            raise llama_errors.failure()
        return self._server


class _Run:
    """One request: one call of llama.cpp per prompt and choice, and one response."""

    def __init__(self, plan: CompletionPlan, rewriter: ChunkRewriter, sink: EventSink, job: Job, body: Body) -> None:
        self._plan = plan
        self._rewriter = rewriter
        self._sink = sink
        self._job = job
        self._params = body.keys()
        self._assembly = ChunkAssembler()
        self._begun = False
        self._last: Json = {}
        self._error: Exception | None = None

    def all(self, call: Callable[[str, Callback], object]) -> EngineResult:
        """Execute the plan. Raises `EngineError`, and exceptions of the sink."""
        for number, request in enumerate(self._plan.requests()):
            self._rewriter.run(number, same_prompt=number % self._plan.choices > 0)
            self._one(call, request)
            if self._job.stop.is_set():
                return EngineResult(None, self._rewriter.cost())
        if not self._plan.stream:
            return EngineResult(orjson.dumps(self._assembly.response(self._rewriter.usage())), self._rewriter.cost())
        if self._plan.include_usage:
            self._sink.event(orjson.dumps(self._rewriter.usage_chunk(self._last)))
        self._sink.event(b"[DONE]")
        return EngineResult(None, self._rewriter.cost())

    def _one(self, call: Callable[[str, Callback], object], request: str) -> None:
        try:
            call(request, self._callback)
        except (RuntimeError, ValueError) as error:
            if self._rewriter.started:
                raise
            raise llama_errors.from_message(str(error), self._params) from None
        if self._error is not None:
            raise self._error
        self._emit(self._rewriter.rest())
        if not self._rewriter.finished and not self._job.stop.is_set():
            raise llama_errors.failure()

    def _callback(self, raw: str) -> bool:
        """Called by llama.cpp; True stops it. Exceptions must not pass through its frames."""
        try:
            self._take(raw)
        except Exception as error:
            self._error = error
        return self._error is not None or self._job.stop.is_set()

    def _take(self, raw: str) -> None:
        chunk = orjson.loads(raw)
        if isinstance(chunk, dict) and "error" in chunk:
            raise llama_errors.from_error_object(chunk["error"], self._params)
        self._emit(self._rewriter.chunk(chunk))

    def _emit(self, chunk: Json | None) -> None:
        if chunk is None:
            return
        if not self._plan.stream:
            self._assembly.feed(chunk)
            return
        if not self._begun:
            self._begun = True
            self._sink.begin()
        self._last = chunk
        self._sink.event(orjson.dumps(chunk))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


def _template_has_tools(back_door: Path) -> bool:
    """Whether the template supports tools; llama.cpp reports this over HTTP only."""
    connection = _UnixConnection(back_door)
    try:
        connection.request("GET", "/props")
        capabilities = orjson.loads(connection.getresponse().read()).get("chat_template_caps")
    except (OSError, http.client.HTTPException, orjson.JSONDecodeError, AttributeError):
        return False
    finally:
        connection.close()
    return isinstance(capabilities, dict) and bool(capabilities.get("supports_tools"))
