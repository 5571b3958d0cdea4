"""The documents say what the code does: errors, headers, links, examples, the commands of the README."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from support.tables import DOCS, table

from onwards_py.config.parse import parse
from onwards_py.config.serve_options import ServeOptions
from onwards_py.errors import ErrorKind
from onwards_py.messages import Field, ResponseHead
from onwards_py.model.provider import Provider
from onwards_py.transports.outbound_head import outbound_head
from onwards_py.wire.field_rules import REQUEST_RULES
from onwards_py.wire.request_head import examine
from onwards_py.wire.response_head import DROPPED, examine_response

ROOT = DOCS.parent
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "benchmarks" / "README.md"])
HEADERS = "decisions/0005-what-native-mode-adds-or-removes.md"
ANYTHING = "anything else"


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_documented_errors_are_those_of_the_code() -> None:
    """docs/reference/errors.md: code, status and type, both ways."""
    documented = {(row[0], int(row[1]), row[2]) for row in table("reference/errors.md", "code")}
    assert documented == {(kind.value.code, kind.value.status, kind.value.type) for kind in ErrorKind}


KEPT_FRAMING = frozenset({b"content-length", b"content-type", b"content-encoding"})


def test_the_header_tables_name_every_field_that_has_a_rule() -> None:
    """No field is treated in a special way without being listed, and none is listed that is not."""
    for section, special in (("## Requests", set(REQUEST_RULES)), ("## Responses", KEPT_FRAMING.union(DROPPED))):
        listed = [row[0] for row in table(HEADERS, "field", section)]
        assert len(listed) == len(set(listed))
        assert {name.lower().encode() for name in listed} - {ANYTHING.encode()} == special


VALUES = {
    "Host": b"gateway.example",
    "Content-Length": b"7",
    "Transfer-Encoding": b"chunked",
    "Expect": b"100-continue",
}


def request_rows() -> list[list[str]]:
    return table(HEADERS, "field", "## Requests")


@pytest.mark.parametrize("row", request_rows(), ids=[row[0] for row in request_rows()])
def test_a_request_field_becomes_what_the_table_says(row: list[str]) -> None:
    """Each listed field is sent through the code: kept, removed, or replaced by the provider's."""
    name = "X-Anything" if row[0] == ANYTHING else row[0]
    field = (name.encode(), VALUES.get(name, b"client-value"))
    fields: list[Field] = [field] if name == "Host" else [(b"Host", b"gateway.example"), field]
    credential = (b"Authorization", b"Bearer provider")
    provider = Provider("id", "p", host=b"provider.example", credential=credential)
    length = 7 if name in ("Content-Length", "Transfer-Encoding") else 0
    sent = outbound_head(examine(fields, b"/x", 1), b"POST", b"/v1/x", provider, length)
    lines = sent.split(b"\r\n")[1:-2]
    line = b"%b: %b" % field
    if row[1] == "kept":
        assert line in lines
    else:
        assert line not in lines
        assert row[1] in ("removed", "replaced")
    if row[1] == "replaced":
        expected = b"Host: provider.example" if name == "Host" else b"Authorization: Bearer provider"
        assert expected in lines
    names = {b"Host", b"Authorization"} | ({name.encode()} if row[1] == "kept" else set())
    if name == "Transfer-Encoding":
        names.add(b"Content-Length")
    assert sorted(text.partition(b":")[0] for text in lines) == sorted(names)


def response_rows() -> list[list[str]]:
    return table(HEADERS, "field", "## Responses")


@pytest.mark.parametrize("row", response_rows(), ids=[row[0] for row in response_rows()])
def test_a_response_field_becomes_what_the_table_says(row: list[str]) -> None:
    """Each listed field is sent through the code: kept or removed."""
    name = "X-Anything" if row[0] == ANYTHING else row[0]
    field = (name.encode(), VALUES.get(name, b"provider-value"))
    block = examine_response(ResponseHead.of(200, b"OK", [field])).block
    assert block == (b"%b: %b\r\n" % field if row[1] == "kept" else b"")


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links name files that exist, and anchors headings that exist."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings], link


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_source_files_that_a_page_names_exist(page: Path) -> None:
    """Paths are relative to the repository, the package, the tests or the page; NAME stands for any name."""
    named = [path for path in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|yaml))`", page.read_text()) if "NAME" not in path]
    places = (ROOT, ROOT / "onwards_py", ROOT / "tests", page.parent)
    assert [path for path in named if not any((place / path).exists() for place in places)] == []


ENV = {"OPENAI_API_KEY": "sk-x", "RENTED_KEY": "sk-y", "TEAM_A_KEY": "sk-z", "PROVIDER_KEY": "sk-w"}


ABSENT = re.compile(r"no such file|pip install")


def examples() -> list[tuple[str, str]]:
    """Every YAML block that is a whole configuration, with its page. configuration.md has a test of its own."""
    found = []
    for page in PAGES:
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL), 1):
            if page.name != "configuration.md":
                found.append((f"{page_id(page)}#{number}", block))
    return found


@pytest.mark.parametrize(("name", "block"), examples(), ids=[name for name, _ in examples()])
def test_every_yaml_example_loads(name: str, block: str) -> None:
    """Without errors, and without warnings but that a model of the reader's, or an optional package, is not here."""
    assert yaml.safe_load(block), "not a configuration"
    loaded = parse(block, name, ENV)
    assert [warning for warning in map(str, loaded.warnings) if not ABSENT.search(warning)] == []
    assert loaded.snapshot.pools


def test_a_real_provider_is_four_lines() -> None:
    """As the README promises."""
    block = re.findall(r"## A real provider.*?```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    assert len(block.splitlines()) == 4


def test_the_readme_installs_groups_that_exist() -> None:
    """Both commands name what pyproject.toml has, and CI takes its command from the README."""
    readme = (ROOT / "README.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(re.findall(r"--group (\w+)", readme)) <= set(project["dependency-groups"])
    assert set(re.findall(r"\.venv/bin/(onwards-\w+)", readme)) <= set(project["project"]["scripts"])
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    extraction = next(line for line in script.read_text().splitlines() if line.startswith("tests=$(sed"))
    done = subprocess.run(
        ["bash", "-c", f'{extraction}; echo "$tests"'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("python3 -m venv .venv && ")
    assert done.stdout.endswith("-m pytest -n auto --maxprocesses 8\n")


def test_what_is_installed_to_test_is_pinned() -> None:
    """constraints.txt has every direct dependency, and the models that are installed beside them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values()]
    asked = project["project"]["dependencies"] + [name for names in lists for name in names if isinstance(name, str)]
    for command in re.findall(r"pip install ([^&\n]*--no-deps [^&\n]*)", (ROOT / "README.md").read_text()):
        assert command.startswith("-c constraints.txt ")
        asked += command.partition("--no-deps ")[2].split()
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert {_canonical(name) for name in asked} - {_canonical(name) for name in pinned} == set()


def _canonical(requirement: str) -> str:
    """The name in a requirement, as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


def test_commands_ask_the_ports_that_are_listened_on() -> None:
    """The default ports, as no page starts the program on others."""
    asked = {
        (page_id(page), port)
        for page in PAGES
        for block in re.findall(r"```(?:sh|python|toml)\n(.*?)```", page.read_text(), re.DOTALL)
        for port in re.findall(r"(?:localhost|127\.0\.0\.1):(\d+)", block)
    }
    options = ServeOptions(Path("targets.yaml"))
    ports = {str(options.port), str(options.admin_port)}
    assert {port for _, port in asked} == ports, asked


def test_the_decisions_are_numbered_and_listed() -> None:
    """One page each, in the style context, decision, consequences; the architecture links to all."""
    pages = sorted((DOCS / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    overview = (DOCS / "architecture.md").read_text()
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {int(page.name[:4])}. ")
        assert "**Context.**" in text
        assert "**Decision.**" in text
        assert "**Consequences.**" in text
        assert f"decisions/{page.name}" in overview


def test_the_page_about_tests_names_every_test_file() -> None:
    """docs/testing.md: each file once, with its promise, and no file that does not exist."""
    rows = re.findall(r"^\| `([\w/]*test_\w+\.py)` \| (.+) \|$", (DOCS / "testing.md").read_text(), re.MULTILINE)
    tests = ROOT / "tests"
    files = {
        path.relative_to(tests).as_posix() for path in tests.rglob("test_*.py") if "node_modules" not in path.parts
    }
    names = [name for name, _ in rows]
    assert files - set(names) == set(), "not in docs/testing.md"
    assert set(names) - files == set(), "in docs/testing.md, but not here"
    assert len(names) == len(files)
    assert len({promise for _, promise in rows}) == len(rows)


def test_the_page_about_tests_names_tests_that_exist() -> None:
    """docs/testing.md: the main promises name single tests, as pytest does."""
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (DOCS / "testing.md").read_text())
    assert named
    for file, test in named:
        assert re.search(rf"^(async )?def {test}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE), test
