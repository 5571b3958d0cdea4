"""The output of the program: one access-log line for each exchange, never a secret, and no stall if it is not read."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from pathlib import Path

import aiohttp
import pytest
from support.origin import Peer, answer, once, origin, refused_port, serve, silent
from support.program import PATIENCE, run, serving, until
from support.raw import ask, connect, get, post

from onwards_py.cli import main

BOTH_DOORS = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
ECHO = "targets: {m: {local: {engine: echo}}}"
CHAT = post(b'{"model":"m","messages":[{"role":"user","content":"hi"}]}')

FIELDS = (
    *("ts", "peer", "key", "method", "path", "target", "via", "provider", "status", "outcome", "code", "attempts"),
    *("bytes_in", "bytes_out", "ms_head", "ms"),
)


@BOTH_DOORS
async def test_each_exchange_leaves_one_json_line_on_standard_output(tmp_path: Path, lane: bool) -> None:
    """An answered exchange, one refused by the handler and one refused by the door each have a line, in order. There
    is no other output."""
    with serving(ECHO, tmp_path, lane=lane) as program:
        assert (await ask(program.port, CHAT)).status == 200
        assert (await ask(program.port, post(b'{"model":"nobody"}', b"/v1/x?secret=1"))).status == 404
        assert (await ask(program.port, b"GET /v1/models HTTP/1.1\r\n\r\n")).status == 400
        assert await asyncio.to_thread(program.stop) == 0
        lines = program.lines()
    assert [line["status"] for line in lines] == [200, 404, 400]
    assert [line["outcome"] for line in lines] == ["done", "refused", "refused"]
    assert [line["target"] for line in lines] == ["m", None, None]
    assert [line["code"] for line in lines] == [None, "model_not_found", "bad_request"]
    assert [line["path"] for line in lines][:2] == ["/v1/chat/completions", "/v1/x"]
    assert all(tuple(line) == FIELDS for line in lines)


@BOTH_DOORS
async def test_a_line_is_written_soon_and_not_only_at_the_end(tmp_path: Path, lane: bool) -> None:
    """A person may follow the log."""
    with serving(ECHO, tmp_path, lane=lane) as program:
        assert (await ask(program.port, CHAT)).status == 200
        await until(lambda: program.stdout.endswith("\n"))
        assert len(program.lines()) == 1


@BOTH_DOORS
async def test_a_full_pipe_does_not_stall_serving(tmp_path: Path, lane: bool) -> None:
    """The pipe on standard output is full from the start. Requests are answered, and the program ends properly."""
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        os.write(writing, b"\n" * 4096)
        with serving(ECHO, tmp_path, lane=lane, stdout=writing) as program:
            async with connect(program.port) as client:
                for _ in range(600):
                    await client.send(CHAT)
                    assert (await client.response()).status == 200
            assert await asyncio.to_thread(program.stop) == 0
            assert "Fatal" not in program.stderr
    finally:
        os.close(reading)
        os.close(writing)


@BOTH_DOORS
async def test_a_closed_pipe_does_not_stop_serving(tmp_path: Path, lane: bool) -> None:
    """After EPIPE log lines are lost and counted; serving goes on."""
    reading, writing = os.pipe()
    os.close(reading)
    with serving(ECHO, tmp_path, lane=lane, stdout=writing) as program:
        os.close(writing)
        assert (await ask(program.port, CHAT)).status == 200

        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession(program.admin_url) as session:
            text = ""
            while "onwards_access_log_lines_dropped_total 1.0" not in text:
                async with session.get("/metrics") as response:
                    text = await response.text()
        assert (await ask(program.port, CHAT)).status == 200
        assert await asyncio.to_thread(program.stop) == 0


CLIENT_KEY = "sk-canary-client-5d1c"
OTHER_KEY = "sk-canary-stranger-77aa"
PROVIDER_KEY = "sk-canary-provider-90fe"
PROXY_PASSWORD = "canary-proxy-31bc"
SECRETS = (CLIENT_KEY, OTHER_KEY, PROVIDER_KEY, PROXY_PASSWORD)


async def _bad_answer(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"garbage\r\n\r\n")


@BOTH_DOORS
async def test_no_secret_is_ever_written(tmp_path: Path, lane: bool) -> None:
    """Client keys, provider keys and proxy passwords are in no log, metric or error, at the most verbose level.
    Responses case L1."""
    key = b"Authorization: Bearer " + CLIENT_KEY.encode() + b"\r\n"
    other = b"X-Api-Key: " + OTHER_KEY.encode() + b"\r\n"
    async with origin(serve(answer(status=b"401 Unauthorized"))) as unwilling, origin(_bad_answer) as odd:
        config = f"""
auth:
  key_definitions: {{team: {{key: {CLIENT_KEY}, concurrency_limit: {{max_concurrent_requests: 5}}}}}}
defaults: {{keys: [team], onwards_key: {PROVIDER_KEY}}}
targets:
  unwilling: {{url: '{unwilling.url}/v1'}}
  odd: {{url: '{odd.url}/v1'}}
  absent: {{url: 'http://127.0.0.1:{refused_port()}/v1'}}
  proxied: {{url: 'http://127.0.0.1:1/v1', proxy: 'http://user:{PROXY_PASSWORD}@127.0.0.1:{refused_port()}'}}
"""
        with serving(config, tmp_path, lane=lane, arguments=["--log-level", "debug"]) as program:
            told = []
            for name in (b"unwilling", b"odd", b"absent", b"proxied", b"unknown"):
                body = b'{"model":"%b"}' % name
                told.append(await ask(program.port, post(body, fields=key)))
                told.append(await ask(program.port, post(body, fields=other)))
            told.append(await ask(program.port, get(b"/v1/models", key + key)))
            told.append(await ask(program.port, post(b"{", fields=key)))
            told.append(await ask(program.port, b"POST / HTTP/1.1\r\n" + key + b" folded\x00: x\r\n\r\n"))
            async with aiohttp.ClientSession() as session, session.get(program.admin_url + "/metrics") as response:
                written = await response.text()
            assert await asyncio.to_thread(program.stop) == 0
            written += program.stdout + program.stderr
            assert [line["key"] for line in program.lines()][:2] == ["team", None]
    assert {response.status for response in told} == {401, 403, 404, 502, 503, 400}
    written += "".join(repr(response.head + response.body) for response in told)
    assert [secret for secret in SECRETS if secret in written] == []


@pytest.mark.parametrize(
    "config",
    [
        "targets: {a: {url: 'http://x/v1', onwards_key: \"SECRET\\u0001\"}}",
        "targets: {a: {url: 'http://user:SECRET@x/v1'}}",
        "targets: {a: {url: 'http://x/v1', proxy: 'http://user:SECRET@'}}",
        "targets: {a: {url: 'http://x/v1', keys: [[SECRET]]}}",
        "targets: {a: {url: 'http://x/v1', onwards_kye: SECRET}}",
        "targets: {a: {url: 'http://x/v1', onwards_key: SECRET",
        "targets: {a: {url: 'http://x/v1', onwards_key: 'SECRET${NOT_SET}'}}",
        "auth: {global_keys: {SECRET: 1}}\ntargets: {}",
    ],
)
def test_no_error_of_configuration_shows_a_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str
) -> None:
    """A message has the place of the mistake, not the value."""
    file = tmp_path / "targets.yaml"
    file.write_text(config.replace("SECRET", PROVIDER_KEY))
    assert main(["check", str(file)], {}) == 2
    shown = "".join(capsys.readouterr())
    assert shown
    assert PROVIDER_KEY not in shown or "global_keys" in config  # a key of a mapping is its structure


async def test_check_and_route_show_no_secret(tmp_path: Path) -> None:
    """The tables show whether there is a credential, not its value."""
    (tmp_path / "targets.yaml").write_text(
        f"targets: {{a: {{url: 'http://x/v1', onwards_key: {PROVIDER_KEY}, keys: [{CLIENT_KEY}]}}}}"
    )
    for arguments in (("check",), ("route", "a")):
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 0
        assert "canary" not in done.stdout + done.stderr


async def test_a_disconnect_has_its_own_outcome(tmp_path: Path) -> None:
    """The outcome in the log shows which side ended the exchange, and when."""
    async with origin(silent, once(answer())) as upstream:
        with serving(f"targets: {{m: {{url: '{upstream.url}/v1'}}}}", tmp_path) as program:
            async with connect(program.port) as client:
                await client.send(CHAT)
                await upstream.seen(1)
            await until(lambda: program.stdout.endswith("\n"))
            line = json.loads(program.stdout)
            assert (line["outcome"], line["status"]) == ("client_gone_waiting", 0)
