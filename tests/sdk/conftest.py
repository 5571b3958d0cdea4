"""The program as a process, once for each door, with an embedded target and an upstream that fails as it is told."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
from openai import OpenAI
from support.chat_model import ChatModel, playing
from support.program import Program, serving

RELEASE = "X-Release"
ERROR = b'{"error":{"message":"no %d","type":"upstream_type","param":"p","code":"upstream_code"}}'


class Scripted(http.server.BaseHTTPRequestHandler):
    """``/429/…`` answers 429; ``/silent/…`` never answers; ``/endless/…`` streams until somebody leaves."""

    protocol_version = "HTTP/1.1"
    released: threading.Event
    left: threading.Event

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        script = self.path.split("/")[1]
        if script == "silent":
            self.released.wait(20)
            self.close_connection = True
        elif script == "endless":
            self._endless()
        else:
            self._fail(int(script))

    def _fail(self, status: int) -> None:
        body = ERROR % status
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Request-Id", "req-upstream-1")
        if status == 429:
            self.send_header("Retry-After", "7")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _endless(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        event = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}\n\n'
        try:
            while not self.released.wait(0.01):
                self.wfile.write(event)
        except OSError:
            self.left.set()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Upstream:
    """The failing upstream. ``left`` is set when the reader of an endless stream has gone."""

    def __init__(self, port: int, left: threading.Event) -> None:
        self.port = port
        self.left = left


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    released, left = threading.Event(), threading.Event()
    handler = type("Handler", (Scripted,), {"released": released, "left": left})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield Upstream(server.server_address[1], left)
        released.set()
        server.shutdown()
        thread.join(5)


STATUSES = (400, 401, 403, 404, 409, 422, 429, 500, 503)


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "aiohttp"])
def program(
    request: pytest.FixtureRequest, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """The running program; at the end it must stop well."""
    failing = "\n".join(f"  fail-{s}: {{url: 'http://127.0.0.1:{upstream.port}/{s}'}}" for s in STATUSES)
    config = f"""
targets:
  echo: {{local: {{engine: echo}}}}
  org/slow-echo: {{local: {{engine: echo, first_token_delay: 10ms, token_delay: 10ms}}}}
  cut: {{local: {{engine: echo, cut_after: 2}}}}
  busy: {{local: {{engine: echo}}, concurrency_limit: {{max_concurrent_requests: 0}}}}
  closed: {{local: {{engine: echo}}, keys: [sk-right]}}
  silent: {{url: 'http://127.0.0.1:{upstream.port}/silent'}}
  late: {{url: 'http://127.0.0.1:{upstream.port}/silent', timeouts: {{first_byte: 50ms}}}}
  endless: {{url: 'http://127.0.0.1:{upstream.port}/endless'}}
  absent: {{url: 'http://127.0.0.1:9/v1'}}
{failing}
"""
    with serving(config, tmp_path_factory.mktemp("sdk"), lane=request.param) as program:
        yield program
        assert program.stop() == 0
        assert "Traceback" not in program.stderr


@pytest.fixture(scope="module")
def model() -> Iterator[ChatModel]:
    """A provider that only has Chat Completions."""
    with playing() as model:
        yield model


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "aiohttp"])
def translating(
    request: pytest.FixtureRequest, model: ChatModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """The running program in front of it, in translate mode; at the end it must stop well."""
    config = f"""
targets:
  m:
    url: '{model.url}'
    open_responses_mode: translate
    preset: deepseek
    translate: {{reasoning_keys: ['a secret of sixteen bytes']}}
  plain: {{url: '{model.url}', open_responses_mode: translate, preset: vllm}}
  cut: {{url: '{model.url}', open_responses_mode: translate}}
  deepseek-r: {{url: '{model.url}', open_responses_mode: translate}}
  fails: {{url: '{model.url}', open_responses_mode: translate, onwards_model: '429'}}
"""
    with serving(config, tmp_path_factory.mktemp("translating"), lane=request.param) as program:
        yield program
        assert program.stop() == 0
        assert "Traceback" not in program.stderr


@pytest.fixture
def client(program: Program) -> OpenAI:
    """The SDK's client, which repeats no request."""
    return OpenAI(base_url=program.url + "/v1", api_key="sk-right", max_retries=0, timeout=10)
