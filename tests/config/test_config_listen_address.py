"""Where the ports listen by default, and which warnings go with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_helpers import errors, loaded

from onwards_py.cli import main
from onwards_py.config.listen_address import EVERYWHERE, LOOPBACK, admin_host, client_host, exposure_warnings
from onwards_py.config.scalars import HostPattern, ListenHost

OPEN = "targets: {m: {local: {engine: echo}}}"
KEYED = "targets: {m: {local: {engine: echo}, keys: [sk-1]}, n: {local: {engine: echo}}}"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        (OPEN, LOOPBACK),
        ("targets: {}", LOOPBACK),
        # Defined, but asked for by nobody.
        ("auth: {key_definitions: {a: {key: sk-1}}}\n" + OPEN, LOOPBACK),
        (KEYED, EVERYWHERE),
        ("auth: {global_keys: [sk-1]}\n" + OPEN, EVERYWHERE),
        ("auth: {key_definitions: {a: {key: sk-1, allowed_targets: [m]}}}\n" + OPEN, EVERYWHERE),
        ("targets: {m: {local: {engine: echo}, keys: []}}", EVERYWHERE),
        ("server: {host: 10.0.0.5}\n" + OPEN, "10.0.0.5"),
        ("server: {host: 127.0.0.1}\n" + KEYED, LOOPBACK),
    ],
)
def test_without_keys_only_this_machine_is_served(text: str, host: str) -> None:
    """One target that asks for a key shows that somebody thought of keys; the file may say otherwise."""
    assert client_host(None, loaded(text).snapshot) == host


def test_the_command_line_goes_before_the_file() -> None:
    """And the admin port stays at home, keys or not."""
    snapshot = loaded("server: {host: 10.0.0.5}\nadmin: {host: 10.0.0.6}\n" + OPEN).snapshot
    assert client_host("::", snapshot) == "::"
    assert (admin_host("::", snapshot), admin_host(None, snapshot)) == ("::", "10.0.0.6")
    assert admin_host(None, loaded(KEYED).snapshot) == LOOPBACK


@pytest.mark.parametrize(
    ("host", "admin", "text", "count"),
    [
        (LOOPBACK, LOOPBACK, OPEN, 0),
        ("localhost", "::1", OPEN, 0),
        (EVERYWHERE, LOOPBACK, KEYED, 0),
        (EVERYWHERE, LOOPBACK, OPEN, 1),
        ("::", EVERYWHERE, OPEN, 2),
        ("gateway.example", "10.0.0.5", KEYED, 1),
    ],
)
def test_what_others_can_reach_unasked_is_warned_of(host: str, admin: str, text: str, count: int) -> None:
    """A client port without keys, and an admin port in any case."""
    assert len(exposure_warnings(host, admin, loaded(text).snapshot)) == count


def test_check_says_where_serve_would_listen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the environment that it runs in, as a container's would be."""
    file = tmp_path / "t.yaml"
    file.write_text(OPEN)
    assert main(["check", str(file)], {}) == 0
    said = capsys.readouterr().out
    assert "serve listens on 127.0.0.1 for clients, because no target requires a key" in said
    assert "warning" not in said
    assert main(["check", str(file)], {"ONWARDS_HOST": "0.0.0.0", "ONWARDS_ADMIN_HOST": "0.0.0.0"}) == 0
    said = capsys.readouterr().out
    assert "serve listens on 0.0.0.0 for clients" in said
    assert said.count("warning: ") == 2


@pytest.mark.parametrize("name", ["a", "prometheus.svc.cluster.local", "*.svc", "*", "A_b-c.", "[::1]"])
def test_names_of_the_admin_port(name: str) -> None:
    """Host names, all below one, any."""
    assert HostPattern.parse(name) == name.lower().rstrip(".")


@pytest.mark.parametrize("name", ["", "a:9090", "http://a", "*.", "a*", "a,b", "a b", "-a", "*a"])
def test_what_is_no_name(name: str) -> None:
    """No port, no scheme, no list."""
    with pytest.raises(ValueError, match="expected a host name"):
        HostPattern.parse(name)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("0.0.0.0", "0.0.0.0"),
        ("::", "::"),
        ("[::1]", "::1"),
        ("FE80::1%eth0", "fe80::1%eth0"),
        ("Gateway.example", "Gateway.example"),
    ],
)
def test_addresses_to_listen_on(text: str, host: str) -> None:
    """IP addresses, with brackets or without, and names."""
    assert ListenHost.parse(text) == host


@pytest.mark.parametrize(
    "text", ["", "*", "unix:/run/x", "/run/x", "127.0.0.1:3000", "[::1]:3000", "http://h", "a b", "[::1", "sk-x/y"]
)
def test_what_is_no_address_to_listen_on(text: str) -> None:
    """Told by `check`, before a start fails by it."""
    with pytest.raises(ValueError, match="expected an IP address"):
        ListenHost.parse(text)
    (told,) = errors(f"server: {{host: '{text}'}}\n" + OPEN)
    assert "server.host: expected an IP address" in told
