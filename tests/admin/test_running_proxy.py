"""What a running proxy has loaded is believed of the one that serves the file, and of nobody else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from support.gateway import running
from support.origin import Peer, Script, answer, origin, serve, silent
from support.targets import snapshot

from onwards_py.admin.client import ReportedEngine, running_engines
from onwards_py.cli import main

READY = {"status": "ready", "engines": [{"name": "x", "engine": "llama_cpp", "model": "package:x", "state": "ready"}]}
ECHO = {"m": {"local": {"engine": "echo"}}}


async def asked(config: Path, port: int) -> list[ReportedEngine] | None:
    return await asyncio.to_thread(running_engines, config, "127.0.0.1", port)


def proxy(config: Path) -> Script:
    """Answers as the admin port of a proxy that serves ``config``, with one engine that is ready."""
    status = {"version": "0.1.0", "config": {"path": str(config)}}

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await peer.send(answer(json.dumps(READY if request.target == b"/readyz" else status).encode()))

    return script


async def dribble(peer: Peer) -> None:
    """One field after the other, for ever."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await peer.send(b"X: y\r\n")
        await asyncio.sleep(0.05)


async def test_the_proxy_that_serves_the_file_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whatever path it is named; another file is another proxy's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none").touch()
    (tmp_path / "link.yaml").symlink_to("none")
    async with running(snapshot(ECHO), lane=True) as gateway:
        for name in ("none", tmp_path / "none", "link.yaml", "./none"):
            assert await asked(Path(name), gateway.admin_port) == []
        assert await asked(tmp_path / "other.yaml", gateway.admin_port) is None
        assert await asked(tmp_path / "none", gateway.port) is None


async def test_engines_are_told_with_their_states(tmp_path: Path) -> None:
    """Also by a proxy that is not ready, whose answer is a 503."""
    async with origin(proxy(tmp_path / "t.yaml")) as port:
        assert await asked(tmp_path / "t.yaml", port.port) == [ReportedEngine("llama_cpp", "package:x", "ready")]
        assert await asked(tmp_path / "u.yaml", port.port) is None


STRANGERS: dict[str, Script] = {
    "a page": serve(answer(b"<html>")),
    "an older or other program": serve(answer(json.dumps(READY).encode())),
    "a status of another kind": serve(answer(b'{"version": "1", "config": "x"}')),
    "not text": serve(answer(b"\xff\xfe")),
    "a redirect": serve(answer(b"", b"302 Found", b"Location: /readyz\r\n")),
    "no HTTP": serve(b"220 smtp\r\n"),
    "silence": silent,
    "a dribble": dribble,
}


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_a_stranger_is_not_believed(tmp_path: Path, stranger: str) -> None:
    """Nor waited for."""
    async with asyncio.timeout(10), origin(STRANGERS[stranger]) as port:
        assert await asked(tmp_path / "t.yaml", port.port) is None


async def test_the_command_asks_where_the_file_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The admin port's address is the file's, the environment's or an option's; a model that is not installed is not
    ready, whatever a proxy says that was started before."""
    config = tmp_path / "t.yaml"
    config.write_text("targets: {m: {local: {engine: llama_cpp, model: 'package:x'}}}\nadmin: {host: 127.0.0.1}\n")
    (tmp_path / "there.gguf").write_bytes(b"GGUF" + bytes(5000))
    async with origin(proxy(config)) as port:
        arguments = ["models", "-f", str(config), "--json"]
        assert await asyncio.to_thread(main, [*arguments, "--admin-port", str(port.port)], {}) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [row["state"] for row in rows if row["target"] == "m"] == ["missing"]
        assert [received.target for received in port.requests] == [b"/status", b"/readyz"]
        env = {"ONWARDS_ADMIN_PORT": str(port.port)}
        assert await asyncio.to_thread(main, [*arguments, "--admin-host", "127.0.0.2"], env) == 0
        assert len(port.requests) == 2, "nobody listens there"
