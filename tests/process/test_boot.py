"""The program starts with the shipped configuration and answers, or ends with an exit code that names the reason."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from support.program import ROOT, clean_environment, free_port, run, serving

CHAT = {"model": "demo", "messages": [{"role": "user", "content": "Hello there"}]}


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
async def test_the_shipped_file_answers_whole_and_streamed(tmp_path: Path, lane: bool) -> None:
    """A first run needs neither network nor key: the demo target answers behind either door."""
    with serving(ROOT / "targets.yaml", tmp_path, lane=lane) as program:
        async with aiohttp.ClientSession(program.url) as client:
            async with client.post("/v1/chat/completions", json=CHAT) as response:
                assert response.status == 200
                answer = await response.json()
            assert answer["choices"][0]["message"]["content"] == "Hello there"
            async with client.post("/v1/chat/completions", json=CHAT | {"stream": True}) as response:
                assert response.content_type == "text/event-stream"
                events = [line[6:] for line in (await response.text()).splitlines() if line]
        assert events[-1] == "[DONE]"
        said = [json.loads(event)["choices"][0]["delta"].get("content", "") for event in events[:-1]]
        assert "".join(filter(None, said)) == "Hello there"
        assert await asyncio.to_thread(program.stop) == 0
        assert len(program.lines()) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_an_idle_program_ends_at_once_with_0(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the program without a failure."""
    with serving(ROOT / "targets.yaml", tmp_path) as program:
        program.signal(number)
        assert program.wait() == 0
        assert "Traceback" not in program.stderr


@pytest.mark.parametrize("option", ["--port", "--admin-port"])
def test_a_port_that_is_taken_is_a_failure_at_run_time(tmp_path: Path, option: str) -> None:
    """The exit code is 1, and one line gives the reason."""
    other = "--admin-port" if option == "--port" else "--port"
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", free_port()))
        holder.listen()
        taken = str(holder.getsockname()[1])
        hosts = ("--host", "127.0.0.1", "--admin-host", "127.0.0.1")
        done = run(
            "serve", "-f", str(ROOT / "targets.yaml"), *hosts, option, taken, other, str(free_port()), cwd=tmp_path
        )
    assert done.returncode == 1
    assert "address already in use" in done.stderr.lower()
    assert "Traceback" not in done.stderr


def test_an_invalid_configuration_is_reported_with_file_line_and_column(tmp_path: Path) -> None:
    """The exit code of serve and check is 2. All errors are reported at once."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("targets:\n  a:\n    ulr: http://x/v1\n  b:\n    url: ftp://x\n")
    served = run("serve", "-f", str(bad), cwd=tmp_path)
    checked = run("check", str(bad), cwd=tmp_path)
    for done in (served, checked):
        assert done.returncode == 2
        assert f"{bad}:3:5: targets.a: unknown key 'ulr'; did you mean 'url'?" in done.stderr
        assert f"{bad}:5:10: targets.b.url: " in done.stderr
        assert "Traceback" not in done.stderr


def test_a_missing_configuration_is_an_error_of_configuration(tmp_path: Path) -> None:
    """The exit code is 2, and the message has the name of the file."""
    done = run("serve", cwd=tmp_path)
    assert done.returncode == 2
    assert "targets.yaml" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--port", "70000"),
        ("serve", "--lane", "maybe"),
        ("serve", "--tls-cert", "nowhere.pem"),
        ("serve", "--no-such-option"),
        ("dance",),
        (),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Usage errors have another exit code than failures at run time."""
    done = run(*arguments, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version_are_0(tmp_path: Path) -> None:
    """They print to standard output."""
    told = run("--help", cwd=tmp_path)
    assert told.returncode == 0
    assert "serve" in told.stdout
    assert run("serve", "--help", cwd=tmp_path).returncode == 0
    version = run("--version", cwd=tmp_path)
    assert (version.returncode, version.stdout.split()[0]) == (0, "onwards-py")


def test_check_prints_the_effective_url(tmp_path: Path) -> None:
    """The table shows the URL that requests to the provider have."""
    config = tmp_path / "targets.yaml"
    config.write_text("targets:\n  a: {url: 'https://api.example.com/v1'}\n")
    done = run("check", cwd=tmp_path)
    assert done.returncode == 0
    assert "https://api.example.com/v1/chat/completions" in done.stdout


def test_options_have_environment_twins_and_the_command_line_wins(tmp_path: Path) -> None:
    """Each option has a variable, such as ``ONWARDS_LANE`` for ``--lane``, and the option takes precedence."""
    env = clean_environment(ONWARDS_LANE="off", ONWARDS_CONFIG="absent.yaml")
    with serving(ROOT / "targets.yaml", tmp_path, lane=None, env=env) as program:
        assert "lane off" in program.stderr
    with serving(ROOT / "targets.yaml", tmp_path, lane=True, env=env) as program:
        assert "lane on" in program.stderr
    done = run("check", cwd=ROOT, env=env)
    assert (done.returncode, "absent.yaml" in done.stderr) == (2, True)
    done = run("serve", cwd=ROOT, env=clean_environment(ONWARDS_PORT="banana"))
    assert (done.returncode, "ONWARDS_PORT" in done.stderr) == (2, True)


def test_the_console_script_is_the_same_program() -> None:
    """This is the script that ``pip install`` creates."""
    script = Path(sys.executable).parent / "onwards-py"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == run("--version", cwd=ROOT).stdout
