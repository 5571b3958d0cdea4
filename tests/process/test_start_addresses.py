"""A first start is not reachable by others, and says so."""

from __future__ import annotations

from pathlib import Path

from support.program import serving
from support.raw import ask, get

TABLE = Path("/proc/net/tcp")
OPEN = "targets: {m: {local: {engine: echo}}}"


async def test_a_start_without_keys_and_options_serves_this_machine_only(tmp_path: Path) -> None:
    """Both ports are on the loopback address; what to do about it stands in the log."""
    with serving(OPEN, tmp_path, hosts=()) as program:
        assert "listening on http://127.0.0.1:" in program.stderr
        assert "--host or server.host opens it" in program.stderr
        assert (await ask(program.port, get(b"/v1/models"))).status == 200
        assert (await ask(program.admin_port, get(b"/healthz", host=b"127.0.0.1"))).status == 200
        listening = TABLE.read_text().split()  # noqa: ASYNC240  (of the kernel's memory)
        for port in (program.port, program.admin_port):
            assert f"0100007F:{port:04X}" in listening
            assert f"00000000:{port:04X}" not in listening


def test_what_is_opened_without_keys_is_warned_of(tmp_path: Path) -> None:
    """An operator may, and is told what that means. (127.0.0.2 would not do: it is this machine.)"""
    with serving(OPEN, tmp_path, hosts=("--host", "0.0.0.0")) as program:
        assert "everybody who reaches it uses the providers at your expense" in program.stderr
        assert "admin port listens on" not in program.stderr
