"""A first start is not reachable from other machines, and the log reports this."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from support.program import free_port, run, serving, wait_until
from support.raw import ask, get

TABLE = Path("/proc/net/tcp")
OPEN = "targets: {m: {local: {engine: echo}}}"


async def test_a_start_without_keys_and_options_serves_this_machine_only(tmp_path: Path) -> None:
    """Both ports are on the loopback address. The log names the options that change this."""
    with serving(OPEN, tmp_path, hosts=()) as program:
        assert "listening on http://127.0.0.1:" in program.stderr
        assert "--host or server.host changes that" in program.stderr
        assert (await ask(program.port, get(b"/v1/models"))).status == 200
        assert (await ask(program.admin_port, get(b"/healthz", host=b"127.0.0.1"))).status == 200
        listening = TABLE.read_text().split()  # noqa: ASYNC240  (of the kernel's memory)
        for port in (program.port, program.admin_port):
            assert f"0100007F:{port:04X}" in listening
            assert f"00000000:{port:04X}" not in listening


def test_an_open_address_without_keys_causes_a_warning(tmp_path: Path) -> None:
    """An operator may choose it and is warned. (127.0.0.2 would not do: it is this machine.)"""
    with serving(OPEN, tmp_path, hosts=("--host", "0.0.0.0")) as program:
        assert "anyone who can reach it can use the providers at your expense" in program.stderr
        assert "admin port listens on" not in program.stderr


def test_a_reload_that_needs_another_address_is_logged(tmp_path: Path) -> None:
    """Keys that are added at run time do not open a port, and the log tells this to the operator."""
    file = tmp_path / "targets.yaml"
    file.write_text(OPEN)
    with serving(file, tmp_path, hosts=(), arguments=("--watch", "off")) as program:
        file.write_text("targets: {m: {local: {engine: echo}, keys: [k]}}")
        program.signal(signal.SIGHUP)
        wait_until(lambda: "configuration 2 applied" in program.stderr, "the reload")
        assert "the client port listens on 127.0.0.1 until a restart, and then on 0.0.0.0" in program.stderr
        assert "the admin port listens" not in program.stderr


@pytest.mark.parametrize(("taken", "what", "options"), [
    ("--port", "the client port", "--host, --port"),
    ("--admin-port", "the admin port", "--admin-host, --admin-port"),
])  # fmt: skip
def test_a_port_that_is_taken_is_named(tmp_path: Path, taken: str, what: str, options: str) -> None:
    """The message also names the option for another port, because most failures of a first start have this reason."""
    (tmp_path / "targets.yaml").write_text(OPEN)
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = other.getsockname()[1]
        ports = {"--port": "0", "--admin-port": str(free_port())} | {taken: str(place)}
        ended = run("serve", *(word for pair in ports.items() for word in pair), cwd=tmp_path)
    assert ended.returncode == 1
    said = f"{what} cannot listen on 127.0.0.1:{place}: Address already in use; choose another with {options}"
    assert said in ended.stderr


def test_an_ipv6_address_may_be_in_brackets(tmp_path: Path) -> None:
    """This is its form in URLs and in the log."""
    with serving(OPEN, tmp_path, hosts=("--host", "[::1]", "--admin-host", "::1")) as program:
        assert "listening on http://[::1]:" in program.stderr
        assert f"admin port http://[::1]:{program.admin_port}" in program.stderr
        assert "WARNING" not in program.stderr
