"""The command line: what is printed, and with which exit code it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from onwards_py import __version__
from onwards_py.cli import main, parser, serve_options
from onwards_py.config.serve_options import ServeOptions

CONFIG = """\
auth: {global_keys: [sk-canary-client]}
targets:
  gpt:
    strategy: priority
    fallback: {enabled: true, on_status: [429, 5xx]}
    providers:
      - {url: https://a.example/v1, onwards_key: sk-canary-upstream, onwards_model: big}
      - {url: "http://b.example:8000/v2"}
      - {url: http://old.example, weight: 0}
  mixed:
    providers: [{url: http://a, weight: 1}, {url: http://b, weight: 3}]
  local: {local: {engine: echo}, sanitize_response: true}
  empty: {providers: []}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "t.yaml"
    path.write_text(CONFIG)
    return path


def test_check_prints_every_provider_with_its_effective_url(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The /v1 of the request is not doubled, another base path is a prefix; then the warnings."""
    assert main(["check", str(config)], {}) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines()]
    assert rows[1] == [
        "gpt",
        "priority",
        "a.example",
        "1",
        "native",
        "yes",
        "1",
        "https://a.example/v1/chat/completions",
    ]
    assert rows[2][-1] == "http://b.example:8000/v2/v1/chat/completions"
    assert rows[6][-2:] == ["(embedded)", "echo"]
    assert f"warning: {config}:12:34: targets.local.sanitize_response: is accepted but has no effect yet" in printed
    assert "canary" not in printed


@pytest.mark.parametrize("command", [["check"], ["route", "m", "-f"]])
@pytest.mark.parametrize(
    ("keys", "url"),
    [
        ("apis: [responses]", "http://h/v1/responses (translated)"),
        ("chat_completions_mode: translate", "http://h/v1/responses (translated)"),
        ("apis: [messages]", "(not served)"),
    ],
)
def test_the_url_of_chat_completions_is_that_of_the_api_of_the_provider(
    command: list[str], keys: str, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A provider without Chat Completions never gets a request at that path."""
    path = tmp_path / "t.yaml"
    path.write_text(f"targets: {{m: {{url: http://h, {keys}}}}}\n")
    assert main([*command, str(path)], {}) == 0
    printed = capsys.readouterr().out
    assert url in printed
    assert "/v1/chat/completions" not in printed


def test_check_prints_all_errors_and_ends_with_2(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CI shows them all; nothing goes to standard output."""
    config.write_text("targets: {a: {url: ftp://h}, b: {wieght: 1}}\n")
    assert main(["check", str(config)], {}) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == f"{config}:1:20: targets.a.url: must begin with http:// or https://"
    assert lines[-1] == "3 errors"


def test_check_takes_its_file_from_the_environment(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ONWARDS_CONFIG is the twin of --config; an argument wins."""
    assert main(["check"], {"ONWARDS_CONFIG": str(config)}) == 0
    assert main(["check", str(config)], {"ONWARDS_CONFIG": "/no/such"}) == 0
    assert main(["check"], {"ONWARDS_CONFIG": "/no/such"}) == 2
    assert "/no/such: cannot be read: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["check", "-f", "my.yaml"],
            "unrecognized arguments: -f; give the file without an option: onwards-py check FILE",
        ),
        (["serve", "my.yaml"], "onwards-py serve: error: unrecognized arguments: my.yaml; give the file with -f FILE"),
        (["route", "m", "my.yaml"], "unrecognized arguments: my.yaml; give the file with -f FILE"),
        (["serve", "--prot", "80"], "unrecognized arguments: --prot 80\n"),
        (["schema", "my.yaml"], "unrecognized arguments: my.yaml\n"),
    ],
)
def test_an_error_of_usage_shows_how_the_command_takes_its_file(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """check takes it as an argument, all other commands as an option."""
    assert main(arguments, {}) == 2
    assert message in capsys.readouterr().err


def test_route_prints_providers_in_their_order_with_reasons(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Priority keeps the order of the file; drained providers are last and said to be."""
    assert main(["route", "gpt", "--config", str(config)], {}) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "target gpt: priority, up to 3 attempts; the next one after: "
        "no connection, no response head in time (600 s, 60 s if streamed), status 429, 500-599"
    )
    assert lines[2].split()[:4] == ["1", "a.example", "big", "https://a.example/v1/chat/completions"]
    assert lines[2].endswith("first choice")
    assert lines[4].endswith("drained, never chosen")


def test_route_orders_a_weighted_pool_by_weight(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the share that each gets while nothing is busy."""
    assert main(["route", "mixed", "-f", str(config)], {}) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "one attempt; fallback is off; a response head may take 600 s" in lines[0]
    assert [line.split()[1] for line in lines[2:4]] == ["b", "a"]
    assert "75% when idle" in lines[2]
    assert lines[4].startswith("ejection: after 5 failures in a row")


def test_route_of_an_unknown_model_ends_with_1_and_names_the_targets(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["route", "nope", "-f", str(config)], {}) == 1
    assert "there are: gpt, mixed, local, empty" in capsys.readouterr().err


def test_route_of_an_empty_pool_prints_no_provider(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its table has a header only."""
    assert main(["route", "empty", "-f", str(config)], {}) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_schema_prints_the_shipped_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"], {}) == 0
    shipped = Path(__file__).parents[2] / "docs/schema/targets.schema.json"
    # Not compared by pytest, which takes minutes to explain how long texts differ.
    assert (capsys.readouterr().out == shipped.read_text()) is True, (
        "run: onwards-py schema > docs/schema/targets.schema.json"
    )


def test_version_and_help_end_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    """--help has examples."""
    assert main(["--version"], {}) == 0
    assert capsys.readouterr().out == f"onwards-py {__version__}\n"
    assert main(["--help"], {}) == 0
    assert "examples:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "env", "message"),
    [
        ([], {}, "COMMAND"),
        (["bake"], {}, "bake"),
        (["serve", "--prot", "1"], {}, "--prot"),
        (["serve", "--port", "70000"], {}, "--port: expected a port"),
        (["serve", "--port", "-1"], {}, "--port"),
        (["serve", "--lane", "maybe"], {}, "--lane: expected on or off"),
        (["serve", "--log-level", "loud"], {}, "--log-level: expected debug"),
        (["serve"], {"ONWARDS_ADMIN_PORT": "x"}, "ONWARDS_ADMIN_PORT: expected a port"),
        (["serve", "--admin-allowed-hosts", "a, b:9090"], {}, "--admin-allowed-hosts: expected a host name"),
        (["serve", "--tls-cert", "/no/such"], {}, "--tls-cert: there is no such file"),
        (["serve", "--tls-cert", __file__], {}, "must be given together"),
        (["serve"], {"ONWARDS_TLS_KEY": __file__}, "must be given together"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(
    arguments: list[str], env: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Arguments and environment variables alike, by their name."""
    assert main(arguments, env) == 2
    assert message in capsys.readouterr().err


def test_serve_without_anything_said_uses_the_documented_defaults() -> None:
    assert serve_options(parser().parse_args(["serve"]), {}) == ServeOptions(Path("targets.yaml"))


def test_every_option_of_serve_has_an_environment_twin_and_the_argument_wins() -> None:
    """An empty variable counts as unset."""
    env = {
        "ONWARDS_CONFIG": "c.yaml", "ONWARDS_HOST": "::1", "ONWARDS_PORT": "1", "ONWARDS_ADMIN_HOST": "127.0.0.1",
        "ONWARDS_ADMIN_PORT": "2", "ONWARDS_LANE": "off", "ONWARDS_LOG_LEVEL": "DEBUG",
        "ONWARDS_TLS_CERT": __file__, "ONWARDS_TLS_KEY": __file__,
    }  # fmt: skip
    by_env = serve_options(parser().parse_args(["serve"]), env)
    here = Path(__file__)
    assert by_env == ServeOptions(Path("c.yaml"), "::1", 1, "127.0.0.1", 2, False, "debug", here, here)
    arguments = ["serve", "-f", "d.yaml", "--host", "h", "-p", "3", "--admin-host", "a", "--metrics-port", "4"]
    arguments += ["--lane", "on", "--log-level", "error"]
    by_argument = serve_options(parser().parse_args(arguments), env)
    assert by_argument == ServeOptions(Path("d.yaml"), "h", 3, "a", 4, True, "error", here, here)
    assert serve_options(parser().parse_args(["serve"]), {"ONWARDS_PORT": ""}).port == 3000


URLS = """\
targets:
  azure:
    base_url: https://r.openai.azure.com/openai/deployments/d
    query: {api-version: 2024-10-21, code: sk-canary}
    health_check: {path: /v1/health}
  old:
    providers:
      - {url: https://openrouter.ai/api/v1, open_responses_mode: translate}
      - {url: https://a.example, chat_completions_mode: translate}
      - {url: https://b.example/v2, open_responses_mode: disabled}
      - {local: {engine: echo}}
"""


def test_check_urls_prints_where_the_requests_for_each_api_go(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For each provider, aligned, translated ones where they are sent, secrets hidden; then the warnings."""
    config.write_text(URLS)
    assert main(["check", "--urls", str(config)], {}) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    place = lines[0].index("REQUESTS GO TO")
    told = {tuple(line[:place].split()): line[place:] for line in lines[1:] if not line.startswith("warning")}
    azure = "https://r.openai.azure.com/openai/deployments/d"
    names = ("chat/completions", "responses", "embeddings", "messages", "models", "health")
    for name in names:
        row = ("azure", "r.openai.azure.com", name.partition("/")[0])
        assert told[row] == f"{azure}/{name}?api-version=2024-10-21&code=***"
    router = "https://openrouter.ai/api/v1"
    assert told["old", "openrouter.ai", "responses"] == f"{router}/chat/completions (translated)"
    assert told["old", "openrouter.ai", "health"] == f"{router}/models (no health check)"
    assert told["old", "a.example", "chat"] == "https://a.example/v1/responses (translated)"
    assert told["old", "b.example", "responses"] == "(not served)"
    assert told["old", "echo", "all"] == "(embedded) echo"
    assert len(told) == 6 * 4 + 1
    assert f"warning: {config}:10:10: targets.old.providers[2].url: requests for /v1/chat/completions go to" in printed
    assert "canary" not in printed
