"""The command line: parses arguments, maps failures to exit codes, and prints results.

Exit codes: 0 success, 1 run-time failure, 2 wrong usage or invalid configuration.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onwards_py import __version__, standard_streams
from onwards_py.config import listen_address
from onwards_py.config.diagnostics import ConfigError
from onwards_py.config.json_schema import render
from onwards_py.config.parse import LoadedConfig, load
from onwards_py.config.scalars import HostPattern, ListenHost
from onwards_py.config.serve_options import ServeOptions
from onwards_py.interpreter import unsupported_reason
from onwards_py.model.pool import Pool
from onwards_py.model.snapshot import Snapshot
from onwards_py.routing.explain import (
    api_url,
    describe_attempts,
    describe_resilience,
    describe_route_by,
    effective_urls,
    expected_order,
)
from onwards_py.standard_streams import print_error
from onwards_py.wire.api import Api

OK, FAILED, USAGE = 0, 1, 2

_EXAMPLES = """\
examples:
  onwards-py serve                                  serve targets.yaml in this folder on port 3000
  onwards-py serve -f /etc/onwards.yaml --port 80   another file, another port
  onwards-py check targets.yaml                     print all errors, or the route table
  onwards-py check --urls targets.yaml              print the URLs of each API
  onwards-py route gpt-4                            print the providers of a model, in order, with reasons
  onwards-py models                                 list local models: configured, installed, loaded
  onwards-py schema > targets.schema.json           print the JSON Schema for editors

Every option of serve can also be given as an environment variable, for example ONWARDS_PORT for --port;
the command line takes precedence. Exit codes: 0 success, 1 run-time failure, 2 wrong usage or invalid configuration.
"""


@dataclass(frozen=True, slots=True)
class _Option:
    """An option of serve and its environment variable. ``parse`` raises ValueError with a reason. ``default_text``
    replaces the default in the help, where it depends on the configuration."""

    name: str
    flags: tuple[str, ...]
    parse: Callable[[str], object]
    default: object
    help: str
    default_text: str = ""

    @property
    def variable(self) -> str:
        return f"ONWARDS_{self.name.upper()}"

    @property
    def shown_default(self) -> str:
        if self.default_text:
            return self.default_text
        return "on" if self.default is True else str(self.default) if self.default else "none"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ValueError("expected a port, 0 to 65535")
    return int(text)


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError("expected on or off")
    return text == "on"


def _level(text: str) -> str:
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError("expected debug, info, warning or error")
    return text.lower()


def _names(text: str) -> tuple[str, ...]:
    return tuple(HostPattern.parse(name) for name in text.replace(",", " ").split())


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise ValueError("there is no such file")
    return Path(text)


_CONFIG = _Option("config", ("--config", "--targets", "-f"), Path, Path("targets.yaml"), "the configuration file")
_ADMIN_PORT = _Option(
    "admin_port", ("--admin-port", "--metrics-port"), _port, 9090, "port of metrics and health checks"
)
_HOST = _Option(
    "host",
    ("--host",),
    ListenHost.parse,
    None,
    "address to listen on",
    "127.0.0.1 if no target requires a key, else 0.0.0.0",
)
_ADMIN_HOST = _Option(
    "admin_host", ("--admin-host",), ListenHost.parse, None, "address of metrics and health checks", "127.0.0.1"
)
_OPTIONS = (
    _CONFIG,
    _HOST,
    _Option("port", ("--port", "-p"), _port, 3000, "port to listen on; 0 takes a free one"),
    _ADMIN_HOST,
    _ADMIN_PORT,
    _Option(
        "admin_allowed_hosts",
        ("--admin-allowed-hosts",),
        _names,
        (),
        "host names that the admin port accepts, besides localhost and IP addresses",
    ),
    _Option("lane", ("--lane",), _switch, True, "on: the fast listener; off: aiohttp serves all requests"),
    _Option("log_level", ("--log-level",), _level, "info", "debug, info, warning or error"),
    _Option("tls_cert", ("--tls-cert",), _file, None, "PEM file with the certificate chain for TLS"),
    _Option("tls_key", ("--tls-key",), _file, None, "PEM file with its private key"),
    _Option("watch", ("--watch", "-w"), _switch, True, "on: reload when the file changes; off: on SIGHUP only"),
)


_TITLES = (
    "TARGET",
    "STRATEGY",
    "PROVIDER",
    "WEIGHT",
    "RESPONSES API",
    "CREDENTIAL",
    "CLIENT KEYS",
    "CHAT COMPLETIONS GO TO",
)
_URL_TITLES = ("TARGET", "PROVIDER", "API", "REQUESTS GO TO")


class _UsageError(Exception):
    """Invalid arguments or environment variables."""


def main(arguments: Sequence[str] | None = None, env: Mapping[str, str] | None = None) -> int:
    """Run one command and return its exit code. The defaults are the arguments of the process."""
    env = os.environ if env is None else env
    standard_streams.reopen_closed()
    try:
        return _run(arguments, env)
    finally:
        standard_streams.flush()


def _run(arguments: Sequence[str] | None, env: Mapping[str, str]) -> int:
    try:
        given, unknown = parser().parse_known_args(arguments)
        if unknown:
            given.usage_error(f"unrecognized arguments: {' '.join(unknown)}{_file_hint(given.command, unknown)}")
    except SystemExit as exit_:
        return OK if exit_.code in (None, OK) else USAGE
    commands: dict[str, Callable[[argparse.Namespace, Mapping[str, str]], int]] = {
        "serve": _serve,
        "check": _check,
        "route": _route,
        "models": _models,
        "schema": _schema,
    }
    try:
        code = commands[given.command](given, env)
        sys.stdout.flush()  # not at exit, because here a closed pipe can still be handled
        return code
    except _UsageError as error:
        print_error(f"onwards-py: {error}")
        return USAGE
    except ConfigError as error:
        count = len(error.problems)
        print_error(f"{error}\n{count} error{'s' if count > 1 else ''}")
        return USAGE
    except BrokenPipeError:
        return FAILED  # the program that reads the output has closed its pipe
    except OSError as error:
        print_error(f"onwards-py: {error}")
        return FAILED


def _file_hint(command: str, unknown: Sequence[str]) -> str:
    """How the command takes its file, if that is what the unknown arguments are about."""
    if command == "check":
        given = any(argument.partition("=")[0] in _CONFIG.flags for argument in unknown)
        return "; give the file without an option: onwards-py check FILE" if given else ""
    takes_file = command != "schema" and not unknown[0].startswith("-")
    return "; give the file with -f FILE" if takes_file else ""


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    grammar = argparse.ArgumentParser(
        prog="onwards-py",
        description="A transparent, byte-level reverse proxy for LLM APIs.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    grammar.add_argument("--version", action="version", version=f"onwards-py {__version__}")
    commands = grammar.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the proxy", allow_abbrev=False)
    for option in _OPTIONS:
        text = f"{option.help} ({option.variable}; default: {option.shown_default})"
        serve.add_argument(*option.flags, dest=option.name, metavar=option.name.upper(), help=text)
    check = commands.add_parser("check", help="validate a configuration and print its route table")
    check.add_argument("config", nargs="?", metavar="FILE", help="default: ONWARDS_CONFIG, or targets.yaml")
    check.add_argument("--urls", action="store_true", help="print the URLs that requests for each API are sent to")
    route = commands.add_parser("route", help="print the providers of a model, in order, with reasons")
    route.add_argument("model", metavar="MODEL", help="the model name, as clients send it")
    route.add_argument(*_CONFIG.flags, dest="config", metavar="FILE", help="default: ONWARDS_CONFIG, or targets.yaml")
    models = commands.add_parser("models", help="list local models: configured and installed ones")
    models.add_argument(*_CONFIG.flags, dest="config", metavar="FILE", help="default: ONWARDS_CONFIG, or targets.yaml")
    models.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    for option, metavar in ((_ADMIN_HOST, "HOST"), (_ADMIN_PORT, "PORT")):
        text = "admin port of the running proxy, which reports the loaded models"
        models.add_argument(*option.flags, dest=option.name, metavar=metavar, help=text)
    commands.add_parser("schema", help="print the JSON Schema of the configuration")
    for command in commands.choices.values():
        command.set_defaults(usage_error=command.error)
    return grammar


def _value(option: _Option, given: argparse.Namespace, env: Mapping[str, str]) -> object:
    text, source = getattr(given, option.name, None), option.flags[0]
    if text is None:
        # An empty variable counts as unset, because compose files cannot omit variables.
        text, source = env.get(option.variable) or None, option.variable
    if text is None:
        return option.default
    try:
        return option.parse(text)
    except ValueError as error:
        raise _UsageError(f"{source}: {error}") from None


def _load(given: argparse.Namespace, env: Mapping[str, str]) -> LoadedConfig:
    path = _value(_CONFIG, given, env)
    assert isinstance(path, Path)
    return load(path, env)


def serve_options(given: argparse.Namespace, env: Mapping[str, str]) -> ServeOptions:
    """The options of serve, from arguments and environment variables. Raises a usage error."""
    values = {option.name: _value(option, given, env) for option in _OPTIONS}
    if (values["tls_cert"] is None) != (values["tls_key"] is None):
        raise _UsageError("--tls-cert and --tls-key must be given together")
    return ServeOptions(**values)  # type: ignore[arg-type]


def _serve(given: argparse.Namespace, env: Mapping[str, str]) -> int:
    options = serve_options(given, env)
    reason = unsupported_reason()
    if reason is not None:
        raise _UsageError(reason)
    # Imported here: the other commands need neither the event loop nor the servers.
    from onwards_py.app import serve

    return serve(options)


def _check(given: argparse.Namespace, env: Mapping[str, str]) -> int:
    loaded = _load(given, env)
    titles = _URL_TITLES if given.urls else _TITLES
    rows_of = _url_rows if given.urls else _rows
    _print_table([titles, *(row for pool in loaded.snapshot.pools.values() for row in rows_of(pool))])
    if not given.urls:
        _print_listening(loaded.snapshot, given, env)
    for warning in loaded.warnings:
        print(f"warning: {warning}")
    return OK


def _print_listening(snapshot: Snapshot, given: argparse.Namespace, env: Mapping[str, str]) -> None:
    """Print the addresses that serve would listen on in this environment."""
    host, admin = (_value(option, given, env) for option in (_HOST, _ADMIN_HOST))
    assert host is None or isinstance(host, str)
    assert admin is None or isinstance(admin, str)
    at = listen_address.client_host(host, snapshot), listen_address.admin_host(admin, snapshot)
    print(listen_address.summary(*at, snapshot))
    for warning in listen_address.exposure_warnings(*at, snapshot):
        print(f"warning: {warning}")


def _rows(pool: Pool) -> list[tuple[str, ...]]:
    keys = "open" if pool.keys is None else str(len(pool.keys))
    if pool.route_by is not None:
        return [(pool.name, "route_by", "-", "-", "-", "-", keys, describe_route_by(pool.route_by))]
    head = (pool.name, pool.strategy.value)
    if not pool.providers:
        return [(*head, "-", "-", "-", "-", keys, "nowhere: there are no providers")]
    return [
        (
            *head,
            provider.name,
            str(provider.weight),
            provider.apis.mode(Api.RESPONSES),
            "yes" if provider.credential is not None else "no",
            keys,
            api_url(provider, Api.CHAT_COMPLETIONS),
        )
        for provider in pool.providers
    ]


def _url_rows(pool: Pool) -> list[tuple[str, ...]]:
    if pool.route_by is not None:
        return [(pool.name, "-", "all", describe_route_by(pool.route_by))]
    return [(pool.name, provider.name, *line) for provider in pool.providers for line in effective_urls(provider)]


def _route(given: argparse.Namespace, env: Mapping[str, str]) -> int:
    pools = _load(given, env).snapshot.pools
    pool = pools.get(given.model)
    if pool is None:
        print_error(f"no target has this name; there are: {', '.join(pools) or 'none'}")
        return FAILED
    if pool.route_by is not None:
        print(f"target {pool.name}: {describe_route_by(pool.route_by)}")
        return OK
    print(f"target {pool.name}: {pool.strategy.value}, {describe_attempts(pool)}")
    rows = [("ORDER", "PROVIDER", "MODEL", "CHAT COMPLETIONS GO TO", "WHY")]
    for place, choice in enumerate(expected_order(pool), start=1):
        model = choice.provider.model_name if choice.provider.model_name is not None else pool.name
        url = api_url(choice.provider, Api.CHAT_COMPLETIONS)
        rows.append((str(place), choice.provider.name, model, url, choice.reason))
    _print_table(rows)
    for sentence in describe_resilience(pool):
        print(sentence)
    return OK


def _models(given: argparse.Namespace, env: Mapping[str, str]) -> int:
    from onwards_py.models_command import run, states_of

    path, host, port = (_value(option, given, env) for option in (_CONFIG, _ADMIN_HOST, _ADMIN_PORT))
    assert isinstance(path, Path)
    assert host is None or isinstance(host, str)
    assert isinstance(port, int)
    # Installed models are listed without a configuration too; but a file that was given must exist.
    asked = given.config is not None or bool(env.get(_CONFIG.variable))
    snapshot = load(path, env).snapshot if asked or path.is_file() else None
    states = None if snapshot is None else states_of(path, listen_address.admin_host(host, snapshot), port)
    return run(snapshot, states, sys.stdout, as_json=given.as_json)


def _schema(_given: argparse.Namespace, _env: Mapping[str, str]) -> int:
    print(render().decode(), end="")
    return OK


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
