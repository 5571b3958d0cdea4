"""The data that the process of a local model gets, and its removal at the end."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from pathlib import Path

import pytest
from engine_helpers import Bench, benching, one_bench, pumped
from support.processes import runs
from support.program import until

from onwards_py.messages import Ending
from onwards_py.transports.base import TransportError
from onwards_py.transports.engine.engine import EngineState
from onwards_py.transports.engine.process import environment

bench = one_bench


async def test_the_sockets_folder_is_private_and_removed_at_the_end(tmp_path: Path) -> None:
    """Its mode is 0700, because each user who can connect to the socket can use the model."""
    async with benching(tmp_path) as bench:
        engine = bench.engine()
        await bench.ask(engine)
        folder = Path(engine.socket).parent
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        assert stat.S_ISSOCK(os.stat(engine.socket).st_mode)
    with pytest.raises(FileNotFoundError):
        os.stat(folder)


async def test_a_long_folder_for_temporary_files_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a socket has at most 104 to 108 bytes."""
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    async with benching(tmp_path) as bench:
        engine = bench.engine()
        assert len(engine.socket) < 100
        await bench.ask(engine)


async def test_no_key_of_a_provider_reaches_the_process(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's environment contains keys that the process does not need."""
    secrets = ("OPENAI_API_KEY", "ONWARDS_KEY", "AWS_SECRET_ACCESS_KEY", "LLAMA_API_KEY", "HF_TOKEN", "DATABASE_URL")
    for name in secrets:
        monkeypatch.setenv(name, "sk-secret")
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    found = (await bench.ask(bench.engine()))["environment"]
    assert "sk-secret" not in found.values()
    assert found["OMP_PROC_BIND"] == "true"
    assert "PATH" in found


@pytest.mark.parametrize("name", ["LLAMA_API_TOKEN", "CUDA_SECRET", "XDG_PASSWORD", "LLAMA_ARG_API_KEY"])
def test_variables_with_secret_names_do_not_reach_the_process(name: str) -> None:
    """This holds even for variables with an allowed prefix."""
    assert environment({name: "x", "LLAMA_CACHE": "y"}) == {"LLAMA_CACHE": "y"}


async def test_the_clients_header_fields_do_not_reach_the_process(bench: Bench) -> None:
    """The process gets only method and path, because the head may contain a key."""
    head = (await bench.ask(bench.engine()))["head"]
    assert head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert "X-Secret" not in head


async def test_closing_before_the_first_request(bench: Bench) -> None:
    """A lazy engine without requests has no process."""
    bench.engine()
    await bench.transport.close()
    assert bench.pids() == []


async def test_closing_at_the_moment_of_the_start(bench: Bench) -> None:
    """The process does not exist yet and must not be started after the close."""
    engine = bench.engine()
    engine.start()
    await asyncio.wait_for(bench.transport.close(), 5)
    assert engine.state is EngineState.CLOSED


@pytest.mark.parametrize("turns", [1, 2, 3])
async def test_closing_while_the_process_is_created(bench: Bench, turns: int) -> None:
    """The close comes some turns of the event loop later."""
    engine = bench.engine()
    engine.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.wait_for(bench.transport.close(), 5)
    assert engine.state is EngineState.CLOSED


@pytest.mark.parametrize("load", ["gated", "never"])
async def test_closing_while_it_loads(bench: Bench, load: str) -> None:
    """The process ends, and waiting requests fail."""
    engine = bench.engine({"load": load})
    call = bench.send(engine)
    pid = await bench.started(1)
    await bench.transport.close()
    assert not runs(pid)
    with pytest.raises(TransportError):
        await call.outcome()
    assert engine.in_flight == 0


async def test_closing_while_it_serves(bench: Bench) -> None:
    """A running stream is cut, and no new process is started."""
    engine = bench.engine()
    response = await bench.send(engine, do="stream", gate="never").outcome()
    await bench.transport.close()
    assert (await pumped(response))[0] in (Ending.EOF, Ending.RESET)
    assert (engine.state, len(bench.pids())) == (EngineState.CLOSED, 1)


async def test_closing_while_it_hangs(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A stopped process does not notice the closed pipe, so it is killed after two seconds. Its pings cause no other
    report."""
    caplog.set_level(logging.WARNING, "asyncio")
    engine = bench.engine(hang_timeout=3.0)
    call = bench.send(engine, do="freeze")
    await until(lambda: bench.pids() and _is_stopped(bench.pids()[0]))
    await bench.transport.close()
    assert not runs(bench.pids()[0])
    with pytest.raises(TransportError):
        await call.outcome()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def test_closing_during_the_wait_for_a_restart(tmp_path: Path) -> None:
    """No timer starts the process after the close."""
    async with benching(tmp_path) as bench:
        engine = bench.engine({"load": "die"}, eager=True)
        engine.start()
        await until(lambda: engine.state is EngineState.DOWN)
        await bench.transport.close()
        starts = len(bench.pids())
        await asyncio.sleep(0.3)
        assert len(bench.pids()) == starts


async def test_a_closed_engine_is_unavailable(bench: Bench) -> None:
    """Requests neither wait for it nor start it."""
    engine = bench.engine()
    await bench.ask(engine)
    await bench.transport.close()
    with pytest.raises(TransportError):
        await bench.send(engine).outcome()
    assert len(bench.pids()) == 1


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
