"""Reloads of a running program: after edits of its files, and after SIGHUP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import aiohttp
import pytest
import trustme
from support.files import rename_over
from support.origin import LAST_CHUNK, STREAM_HEAD, Origin, Peer, answer, chunk, origin, serve
from support.program import PATIENCE, Program, serving
from support.raw import CAP, Client, End, ask, connect, post

# Small files are written, which does not stall the loop of a test; what is waited for happens in another process.
# ruff: noqa: ASYNC110, ASYNC240

BOTH_DOORS = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
EVENT = b'data: {"n":1}\n\n'
INVALID = "targets:\n  m: {url: ftp://x}\n  n: {ulr: http://x}\n"


def target(text: str, name: str = "m") -> str:
    """One target that always answers with ``text``."""
    return f"targets: {{{name}: {{local: {{engine: echo, text: {text}}}}}}}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "conf" / "targets.yaml"
    path.parent.mkdir()
    path.write_text(target("first"))
    return path


async def admin(program: Program, path: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(program.admin_url + path) as response:
        assert response.status == 200
        return await response.text()


async def status(program: Program) -> dict[str, object]:
    document: dict[str, object] = json.loads(await admin(program, "/status"))["config"]
    return document


async def metric(program: Program, name: str) -> float:
    lines = [line for line in (await admin(program, "/metrics")).splitlines() if line.startswith(name + " ")]
    return float(lines[0].rpartition(" ")[2])


async def when(program: Program, condition: Callable[[dict[str, object]], object]) -> dict[str, object]:
    """The ``config`` part of the status as soon as ``condition`` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition(now := await status(program)):
            await asyncio.sleep(0.01)
        return now


async def generation(program: Program, number: int) -> dict[str, object]:
    return await when(program, lambda now: now["generation"] == number)


async def said(program: Program, model: str = "m") -> str:
    """The text of a model's answer, or the code of its error."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "x"}]}).encode()
    response = await ask(program.port, post(body))
    document = json.loads(response.body)
    return str(document["error"]["code"] if response.status != 200 else document["choices"][0]["message"]["content"])


async def test_edits_of_every_kind_are_applied(path: Path, tmp_path: Path) -> None:
    """The file is written in place or replaced by a rename, once and again. The next request gets the new answer."""
    with serving(path, tmp_path) as program:
        assert await said(program) == "first"
        path.write_text(target("second"))
        await generation(program, 2)
        assert await said(program) == "second"
        for number in (3, 4, 5):
            rename_over(path, target(f"t{number}"))
            await generation(program, number)
            assert await said(program) == f"t{number}"
        assert "configuration 5 applied" in program.stderr


async def test_a_swapped_config_map_is_applied(tmp_path: Path) -> None:
    """Kubernetes renames the link ``..data``, which is part of the file's path."""
    folder = tmp_path / "conf"
    for number in (1, 2, 3):
        (folder / f"..{number}").mkdir(parents=True)
        (folder / f"..{number}" / "targets.yaml").write_text(target(f"t{number}"))
    (folder / "..data").symlink_to("..1")
    (folder / "targets.yaml").symlink_to("..data/targets.yaml")
    with serving(folder / "targets.yaml", tmp_path) as program:
        assert await said(program) == "t1"
        for number in (2, 3):
            (folder / "..data_tmp").symlink_to(f"..{number}")
            (folder / "..data_tmp").replace(folder / "..data")
            await generation(program, number)
            assert await said(program) == f"t{number}"


async def test_a_touch_has_no_effect(path: Path, tmp_path: Path) -> None:
    """It causes neither a new generation nor a log line. A later edit is still noticed."""
    with serving(path, tmp_path) as program:
        before = await status(program)
        for mode in (0o600, 0o644):
            os.utime(path)
            path.chmod(mode)
        program.signal(signal.SIGHUP)  # read after what came before it
        await _logged(program, "unchanged")
        assert await status(program) == before
        path.write_text(target("second"))
        await generation(program, 2)
        assert "applied" not in program.stderr.partition("configuration 2")[0]


async def _logged(program: Program, text: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while text not in program.stderr:
            await asyncio.sleep(0.01)


async def test_an_invalid_file_is_reported_and_changes_nothing(path: Path, tmp_path: Path) -> None:
    """Log and status have all reasons, and otherwise describe the active configuration. Then the file is corrected."""
    with serving(path, tmp_path) as program:
        before = await status(program)
        rename_over(path, INVALID)
        now = await when(program, lambda now: now["last_error"])
        error = now.pop("last_error")
        assert now | {"last_error": None} == before
        assert isinstance(error, dict)
        places = [problem.partition(" ")[0] for problem in error["problems"]]
        assert places == [f"{path}:2:12:", f"{path}:3:3:", f"{path}:3:7:"]
        for problem in error["problems"]:
            assert problem in program.stderr
        assert await said(program) == "first"
        assert await metric(program, "onwards_config_last_reload_successful") == 0
        assert await metric(program, 'onwards_config_reloads_total{result="refused"}') == 1
        rename_over(path, target("second"))
        now = await generation(program, 2)
        assert now["last_error"] is None
        assert await said(program) == "second"
        assert await metric(program, "onwards_config_last_reload_successful") == 1
        assert program.stderr.count("configuration refused") == 1


async def test_a_file_that_is_written_slowly_is_applied_only_when_complete(path: Path, tmp_path: Path) -> None:
    """This holds even if each part of it would be a valid file."""
    with serving(path, tmp_path) as program:
        with path.open("w") as file:
            file.write("targets:\n")
            for number in range(60):
                file.write(f"  t{number}: {{local: {{engine: echo}}}}\n")
                file.flush()
                await asyncio.sleep(0.02)
        await generation(program, 2)
        assert await said(program, "t59") == "x"
        assert "configuration 2 applied" in program.stderr
        assert ", 60 targets" in program.stderr


async def test_a_changed_secret_is_sent_to_the_provider(path: Path, tmp_path: Path) -> None:
    """The configuration file does not change; the hash in the status is that of the file."""
    secret = path.with_name("secret")
    secret.write_text("sk-1\n")
    async with origin(serve(answer(b"{}"))) as upstream:
        path.write_text(f"targets: {{m: {{url: '{upstream.url}/v1', onwards_key: '${{file:secret}}'}}}}\n")
        with serving(path, tmp_path) as program:
            before = await status(program)
            await ask(program.port, post(b'{"model":"m"}'))
            rename_over(secret, "sk-2\n")
            now = await generation(program, 2)
            await ask(program.port, post(b'{"model":"m"}'))
            assert [request.values(b"authorization") for request in upstream.requests] == [
                [b"Bearer sk-1"],
                [b"Bearer sk-2"],
            ]
            assert now["sha256"] == before["sha256"]
            assert "sk-" not in program.stderr + await admin(program, "/status")


@BOTH_DOORS
async def test_a_removed_key_is_refused_with_the_next_request(path: Path, tmp_path: Path, lane: bool) -> None:
    """The connection was open before. The other key is still accepted."""
    keys = "targets: {{m: {{local: {{engine: echo}}, keys: [{}]}}}}"
    path.write_text(keys.format("sk-a, sk-b"))
    with serving(path, tmp_path, lane=lane) as program:
        async with connect(program.port) as revoked, connect(program.port) as kept:
            for keys_then, wanted in (("sk-a, sk-b", [200, 200]), ("sk-b", [403, 200]), ("sk-a", [200, 403])):
                before = await status(program)
                path.write_text(keys.format(keys_then))
                program.signal(signal.SIGHUP)
                if keys_then != "sk-a, sk-b":
                    await when(program, lambda now, before=before: now["generation"] != before["generation"])  # type: ignore[misc]
                found = [await _chat(revoked, "sk-a"), await _chat(kept, "sk-b")]
                assert found == wanted, keys_then


async def _chat(client: Client, key: str) -> int:
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
    await client.send(post(body, fields=b"Authorization: Bearer %b\r\n" % key.encode()))
    status: int = (await client.response()).status
    return status


async def test_another_change_of_the_file_does_not_refill_a_limit(path: Path, tmp_path: Path) -> None:
    """An empty bucket stays empty."""
    limited = (
        "targets: {{m: {{rate_limit: {{requests_per_second: 0.001, burst_size: 2}}, "
        "providers: [{{local: {{engine: echo, text: {}}}}}]}}}}"
    )
    path.write_text(limited.format("a"))
    with serving(path, tmp_path) as program:
        assert await said(program) == "a"
        path.write_text(limited.format("b"))
        program.signal(signal.SIGHUP)
        await generation(program, 2)
        assert await said(program) == "b"
        path.write_text(limited.format("c"))
        program.signal(signal.SIGHUP)
        await generation(program, 3)
        assert await said(program) == "rate_limit"


async def test_without_the_watch_only_a_signal_reloads(path: Path, tmp_path: Path) -> None:
    """The option is ``--watch off``. A signal without a change is logged."""
    with serving(path, tmp_path, arguments=["--watch", "off"]) as program:
        program.signal(signal.SIGHUP)
        await _logged(program, "configuration unchanged")
        assert await metric(program, 'onwards_config_reloads_total{result="unchanged"}') == 1
        path.write_text(target("second"))
        program.signal(signal.SIGHUP)
        assert (await generation(program, 2))["warnings"] == 0
        assert await said(program) == "second"
        path.write_text(INVALID)
        program.signal(signal.SIGHUP)
        await when(program, lambda now: now["last_error"])
        program.signal(signal.SIGHUP)
        await _logged(program, "refused before")
        assert program.stderr.count("configuration refused") == 1


async def test_settings_that_need_a_restart_are_named(path: Path, tmp_path: Path) -> None:
    """All other changes of the file are applied."""
    with serving(path, tmp_path) as program:
        server = "server: {max_connections: 7, header_timeout: 3s, drain_timeout: 1s}\n"
        path.write_text(server + target("second"))
        await generation(program, 2)
        assert await said(program) == "second"
        assert "need a restart: max_connections, header_timeout\n" in program.stderr


async def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """``serve -f <(command)`` works. The pipe is not watched, and a signal does not block on it."""
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    Thread(target=pipe.write_text, args=[target("first")], daemon=True).start()  # waits until somebody reads
    with serving(pipe, tmp_path) as program:
        assert "is not a regular file and is not watched" in program.stderr
        program.signal(signal.SIGHUP)
        await when(program, lambda now: now["last_error"])
        assert await said(program) == "first"
        assert await asyncio.to_thread(program.stop) == 0


async def test_a_changed_trust_store_is_used_for_new_connections_at_once(tmp_path: Path) -> None:
    """Path and provider are the same. The connection that trusted the old authority is not reused."""
    first, second = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    first.issue_cert("localhost").configure_cert(context)
    connections = 0

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(b'{"model":"m"}'))
                writer.write(answer(b"{}"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    store = tmp_path / "ca.pem"
    first.cert_pem.write_to_path(store)
    server = await asyncio.start_server(answering, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        config = f"targets: {{m: {{url: 'https://localhost:{port}/v1', tls: {{ca_file: '{store}'}}}}}}"
        with serving(config, tmp_path) as program:
            for _ in range(2):
                assert (await ask(program.port, post())).status == 200
            assert connections == 1
            second.issue_cert("localhost").configure_cert(context)
            second.cert_pem.write_to_path(store)
            program.signal(signal.SIGHUP)
            await generation(program, 2)
            for _ in range(2):
                assert (await ask(program.port, post())).status == 200
            assert connections == 2


# Under load.


@dataclass
class Tally:
    """The responses that clients got; ``lost`` is everything except a complete 200."""

    whole: int = 0
    lost: list[str] = field(default_factory=list)


async def _one_client(port: int, tally: Tally, over: asyncio.Event) -> None:
    """Send requests repeatedly on one connection. Only the responses count: the connection must not close."""
    body = b'{"model":"m","messages":[{"role":"user","content":"a b"}]}'
    async with connect(port) as client:
        while not over.is_set():
            await client.send(post(body, fields=KEY))
            response = await client.response()
            if response.status != 200 or response.end is not End.WHOLE:
                tally.lost.append(f"{response.status} {response.end}")
            tally.whole += 1


class Ticking:
    """An upstream whose streams go on until the test ends them."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.sent = 0

    async def script(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        while not self.over.is_set():
            await peer.send(chunk(EVENT))
            self.sent += 1
            await asyncio.sleep(0.01)
        await peer.send(LAST_CHUNK)


@pytest.fixture
async def ticking() -> AsyncIterator[tuple[Ticking, Origin]]:
    ticking = Ticking()
    async with origin(ticking.script) as upstream:
        yield ticking, upstream


RELOADS = 80
KEY = b"Authorization: Bearer sk\r\n"


@BOTH_DOORS
async def test_many_reloads_under_load_lose_no_request(
    path: Path, tmp_path: Path, lane: bool, ticking: tuple[Ticking, Origin]
) -> None:
    """Each reload changes providers, keys and limits. A stream goes on across all of them, even when its target is
    removed."""
    script, slow = ticking
    async with origin(serve(answer(b'{"n":1}'))) as one, origin(serve(answer(b'{"n":2}'))) as other:

        def config(number: int) -> str:
            upstream = (one, other)[number % 2]
            slow_target = f"  slow: {{url: '{slow.url}/v1'}}\n" if number == 0 else ""
            return f"""
auth: {{global_keys: [sk, sk-{number}]}}
targets:
{slow_target}  m:
    concurrency_limit: {{max_concurrent_requests: {100 + number}}}
    providers: [{{url: '{upstream.url}/v1', onwards_key: k-{number}}}, {{url: '{one.url}/v1', weight: {number % 3}}}]
"""

        path.write_text(config(0))
        with serving(path, tmp_path, lane=lane, arguments=["--watch", "off"]) as program:
            tally, over = Tally(), asyncio.Event()
            async with connect(program.port) as streaming, asyncio.timeout(8 * CAP), asyncio.TaskGroup() as load:
                await streaming.send(post(b'{"model":"slow","stream":true}', fields=KEY))
                stream = await streaming.head()
                for _ in range(8):
                    load.create_task(_one_client(program.port, tally, over))
                for number in range(1, RELOADS + 1):
                    rename_over(path, config(number))
                    program.signal(signal.SIGHUP)
                    await generation(program, number + 1)
                over.set()
                script.over.set()
                await streaming.rest(stream)
            assert (stream.end, stream.body) == (End.WHOLE, EVENT * script.sent)
            assert tally.lost == []
            assert tally.whole > RELOADS
            assert await asyncio.to_thread(program.stop) == 0
            lines = program.lines()
            assert {line["outcome"] for line in lines} == {"done"}
            assert len(lines) == tally.whole + 1


async def test_many_signals_apply_the_last_content(path: Path, tmp_path: Path) -> None:
    """Signals arrive while files are replaced. The last content is applied, and serving goes on."""
    with serving(path, tmp_path, arguments=["--watch", "off"]) as program:
        for number in range(100):
            rename_over(path, target(f"t{number}"))
            program.signal(signal.SIGHUP)
            await asyncio.sleep(0.002)
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while await said(program) != "t99":
            assert asyncio.get_running_loop().time() < deadline
        assert "refused" not in program.stderr
