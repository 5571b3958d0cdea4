"""Invalid files under a running program: a hundred invalid contents, and paths that are not regular files."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest
from support.origin import origin
from support.program import PATIENCE, Program, serving
from support.raw import ask, post

# Small files are written, which does not stall the loop of a test; what is waited for happens in another process.
# ruff: noqa: ASYNC110

OK = "targets: {m: {local: {engine: echo}}}\n"

# With U for a URL that would do.
BROKEN = """\
null
[]
42
targets
targets: []
targets: {a: }
targets: {a: {}}
targets: {a: {url: U}
targets: {a: {url: U}}}
targets: {a: {url: U}, a: {url: U}}
targets: {a: {url: U, url: U}}
targets: {a: {url: *nope}}
targets: {a: &a {url: U, providers: [*a]}}
targets: !!python/object/apply:os.system ["true"]
targets: {a: !!binary "aGk="}
targets: {a: {url: U, keyz: []}}
target: {a: {url: U}}
targets: {a: U}
targets: {"": {url: U}}
targets: {? [a] : {url: U}}
targets: {a: {<<: 7, url: U}}
targets: {a: {url: "ftp://x"}}
targets: {a: {url: "http://"}}
targets: {a: {url: "http://x:99999"}}
targets: {a: {url: "http://u:p@x"}}
targets: {a: {url: "http://x/?k=1"}}
targets: {a: {url: "http://x/../y"}}
targets: {a: {url: 7}}
targets: {a: {url: [U]}}
targets: {a: {url: "http://x y"}}
targets: {a: {url: "${NOT_SET_ANYWHERE}"}}
targets: {a: {url: "${file:/nonexistent}"}}
targets: {a: {url: "${file:/}"}}
targets: {a: {url: U, onwards_key: "${"}}
targets: {a: {url: U, onwards_key: "${file:/dev/zero}"}}
targets: {a: {url: U, onwards_key: "a\\nb"}}
targets: {a: {url: U, weight: -1}}
targets: {a: {url: U, weight: 1.5}}
targets: {a: {providers: [{url: U, weight: 0}]}}
targets: {a: {providers: {}}}
targets: {a: {url: U, providers: [{url: U}]}}
targets: {a: {url: U, keys: sk}}
targets: {a: {url: U, keys: [[]]}}
targets: {a: {url: U, keys: ["a\\nb"]}}
targets: {a: {url: U, keys: [" a"]}}
targets: {a: {url: U, rate_limit: 5}}
targets: {a: {url: U, rate_limit: {}}}
targets: {a: {url: U, rate_limit: {requests_per_second: 0}}}
targets: {a: {url: U, rate_limit: {requests_per_second: -1}}}
targets: {a: {url: U, rate_limit: {requests_per_second: .nan}}}
targets: {a: {url: U, rate_limit: {requests_per_second: .inf}}}
targets: {a: {url: U, rate_limit: {requests_per_second: 1e999}}}
targets: {a: {url: U, rate_limit: {requests_per_second: 1e-320}}}
targets: {a: {url: U, rate_limit: {requests_per_second: true}}}
targets: {a: {url: U, rate_limit: {requests_per_second: 1, requests_per_minute: 1}}}
targets: {a: {url: U, rate_limit: {requests_per_second: 1, burst_size: 0}}}
targets: {a: {url: U, rate_limit: {requests_per_second: 1, burst_size: 1.5}}}
targets: {a: {url: U, rate_limit: {burst_size: 4}}}
targets: {a: {url: U, token_limit: {}}}
targets: {a: {url: U, token_limit: {tokens_per_minute: 0}}}
targets: {a: {url: U, token_limit: {tokens_per_minute: .nan}}}
targets: {a: {url: U, concurrency_limit: {}}}
targets: {a: {url: U, concurrency_limit: {max_concurrent_requests: -1}}}
targets: {a: {url: U, concurrency_limit: {max_concurrent_requests: 1.5}}}
targets: {a: {url: U, on_limit: wait}}
targets: {a: {url: U, queue: {max_waiting: -1}}}
targets: {a: {url: U, queue: {timeout: -1s}}}
targets: {a: {url: U, queue: {timeout: soon}}}
targets: {a: {url: U, routing_rules: {}}}
targets: {a: {url: U, routing_rules: [{}]}}
targets: {a: {url: U, routing_rules: [{match_labels: {}}]}}
targets: {a: {url: U, routing_rules: [{match_labels: {}, action: deny}]}}
targets: {a: {url: U, routing_rules: [{match_labels: {}, action: {type: redirect}}]}}
targets: {a: {url: U, routing_rules: [{match_labels: {}, action: {type: redirect, target: z}}]}}
targets: {a: {url: U, routing_rules: [{match_labels: {t: {}}, action: {type: deny}}]}}
targets: {a: {route_by: {classifier: a, labels: {x: a}, default: a}}}
targets: {a: {url: U, strategy: random}}
targets: {a: {url: U, timeouts: {idle: 0}}}
targets: {a: {url: U, max_body: -4}}
targets: {a: {url: U, upstream_auth_header_name: "a b"}}
targets: {a: {url: U, response_headers: {x: "a\\r\\nb"}}}
targets: {a: {url: U, tls: {ca_file: /nonexistent}}}
{defaults: 4, targets: {a: {url: U}}}
{server: {max_connections: 0}, targets: {a: {url: U}}}
{auth: 5, targets: {a: {url: U}}}
{auth: {global_keys: x}, targets: {a: {url: U}}}
{auth: {key_definitions: []}, targets: {a: {url: U}}}
{auth: {key_definitions: {k: {}}}, targets: {a: {url: U}}}
{auth: {key_definitions: {k: {key_sha256: abc}}}, targets: {a: {url: U}}}
{auth: {key_definitions: {k: {key: a}, l: {key: a}}}, targets: {a: {url: U}}}
{auth: {key_definitions: {k: {key: l}, l: {key: x}}}, targets: {a: {url: U}}}
{auth: {key_definitions: {k: {key: a, labels: [x]}}}, targets: {a: {url: U}}}
{auth: {key_definitions: {k: {key: a, allowed_targets: [z]}}}, targets: {a: {url: U}}}
{auth: {key_definitions: {k: {key: " a"}}}, targets: {a: {url: U}}}
{auth: {key_definitions: {k: {key: a, rate_limit: {requests_per_second: x}}}}, targets: {a: {url: U}}}
""".splitlines()
RAW = [
    b"",
    b"# nothing\n",
    b"\0",
    b"targets:\n\ta: {}\n",
    b"targets: {a\xe4: {}}",
    OK.encode("utf-16"),
    OK.encode() + b"---\n" + OK.encode(),
    b"[" * 100_000,
    b"{a: " * 20_000,
    b"#" * (65 << 20),
]


class Watched:
    """The program, and its reports on the configuration."""

    def __init__(self, program: Program) -> None:
        self.program = program

    async def count(self, result: str) -> float:
        name = f'onwards_config_reloads_total{{result="{result}"}} '
        async with aiohttp.ClientSession() as session, session.get(self.program.admin_url + "/metrics") as response:
            (line,) = [line for line in (await response.text()).splitlines() if line.startswith(name)]
        return float(line.removeprefix(name))

    async def config(self) -> dict[str, object]:
        async with aiohttp.ClientSession() as session, session.get(self.program.admin_url + "/status") as response:
            config: dict[str, object] = (await response.json())["config"]
            return config

    async def answers(self, fields: bytes = b"") -> int:
        body = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
        return (await ask(self.program.port, post(body, fields=fields))).status

    async def read(self, result: str, change: Callable[[], object]) -> None:
        """Change a file, and have it read at once with this result."""
        before = await self.count(result)
        change()
        self.program.signal(signal.SIGHUP)
        async with asyncio.timeout(PATIENCE):
            while await self.count(result) == before:
                await asyncio.sleep(0.002)


async def test_invalid_contents_do_not_change_the_active_configuration(tmp_path: Path) -> None:
    """Each of a hundred contents is refused with reasons. The active configuration still answers, and the status
    describes it."""
    path = tmp_path / "targets.yaml"
    path.write_text(OK)
    contents = [line.replace("U", '"http://127.0.0.1:9/v1"').encode() for line in BROKEN] + RAW
    assert len(contents) >= 100
    with serving(path, tmp_path, arguments=("--watch", "off")) as program:
        watched = Watched(program)
        for content in contents:
            await watched.read("refused", partial(path.write_bytes, content))
            config = await watched.config()
            assert config["last_error"] is not None
            assert (config["generation"], config["sha256"]) == (1, sha256(OK.encode()).hexdigest())
            assert await watched.answers() == 200
        await watched.read("unchanged", partial(path.write_text, OK))
        assert (await watched.config())["last_error"] is None
        assert await watched.count("applied") == 0
        assert "Traceback" not in program.stderr


def replace(path: Path, make: Callable[[Path], object]) -> None:
    """Replace a file by something else."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    make(path)


def bind(path: Path) -> None:
    os.chdir(path.parent)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "nothing": Path.exists,
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a link to nowhere": lambda path: path.symlink_to("/nonexistent/file"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": bind,
    "an empty file": Path.touch,
}


async def test_a_path_that_is_not_a_file_does_not_change_the_active_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported once, and the next valid file is applied. Neither serving nor the end of the program hangs."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "targets.yaml"
    path.write_text(OK)
    with serving(path, tmp_path) as program:
        watched = Watched(program)
        for number, (name, make) in enumerate(NO_FILES.items()):
            await watched.read("refused", partial(replace, path, make))
            assert (name, await watched.answers()) == (name, 200)
            text = f"{OK}x-n: {number}\n"
            await watched.read("applied", partial(replace, path, partial(Path.write_text, data=text)))
            assert (name, (await watched.config())["last_error"]) == (name, None)
        assert program.stop() == 0


async def test_a_secret_that_cannot_be_read_keeps_its_old_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty file is not a secret either, so a request is never sent without a credential while the file is
    written."""
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("sk-old\n")
    reference = f"${{file:{secret}}}"
    async with origin() as upstream:
        config = (
            f'{{auth: {{key_definitions: {{k: {{key: "{reference}"}}}}}}, '
            f'targets: {{m: {{keys: [k], url: "{upstream.url}", onwards_key: "{reference}"}}}}}}'
        )
        with serving(config, tmp_path) as program:
            watched = Watched(program)
            for name, make in NO_FILES.items():
                await watched.read("refused", partial(replace, secret, make))
                assert (name, await watched.answers(b"Authorization: Bearer sk-old\r\n")) == (name, 200)
                assert upstream.requests[-1].values(b"authorization") == [b"Bearer sk-old"]
                await watched.read("unchanged", partial(replace, secret, partial(Path.write_text, data="sk-old\n")))
            assert await watched.answers(b"Authorization: Bearer \r\n") == 401
            assert program.stop() == 0
