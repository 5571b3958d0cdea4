"""The generated JSON Schema, the documents and the shipped file say what the loader does."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import msgspec.inspect as mi
import pytest
import yaml
from config_helpers import ALL_SHAPES, AnyVariable, errors

from onwards_py.config.json_schema import generate, render
from onwards_py.config.parse import load, parse
from onwards_py.model.snapshot import HttpPoolSettings, ServerSettings

ROOT = Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft7Validator(generate())
REFERENCE = (ROOT / "docs/reference/configuration.md").read_text()
_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")
    for path in DOCUMENTS
    if path.exists()
    for number, block in enumerate(_BLOCK.findall(path.read_text()))
]


def test_the_shipped_schema_is_the_generated_one() -> None:
    """After a change of settings the file is generated again."""
    shipped = (ROOT / "docs/schema/targets.schema.json").read_bytes()
    assert (shipped == render()) is True, "run: .venv/bin/onwards-py schema > docs/schema/targets.schema.json"


def test_the_generated_schema_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(generate())


GOOD = [
    "targets: {}",
    "x-anything: [1]\n$schema: x\ntargets: {m: {url: http://h}}",
    "targets: {m: {url: http://h, onwards_model: 5, weight: 3, trusted: true, keys: [a, 1]}}",
    "targets: {m: {url: 'http://${HOST}', weight: '${W:-3}', trusted: '${T:-true}', strategy: '${S:-priority}'}}",
    "targets: {m: {url: http://h, timeouts: {idle: 30s, total: 1.5, connect: null}, max_body: 64MiB, max_event: 5}}",
    "targets: {m: {providers: [{url: http://h}, {local: {engine: echo, token_delay: 0}}], strategy: least_inflight}}",
    "targets: {m: {providers: [{url: http://h}], fallback: {enabled: true, on_status: [5, 50x, 429, '5xx']}}}",
    "targets: {m: [{url: http://h, keys: []}]}",
    "targets: {m: {url: http://h, translate: {on_unsupported: {seed: drop, default: reject}}}}",
    "targets: {m: {url: http://h, translate: {on_unsupported: drop, quirks: {efforts: [low, high]}}}}",
    "targets: {m: {url: http://h, response_headers: {X-A: 1}, proxy: direct, open_responses: {adapter: true}}}",
    "targets: {n: [], m: {url: http://h, routing_rules: [{match_labels: {}, action: {type: redirect, target: n}}]}}",
    "targets: {m: {url: http://h, rate_limit: {requests_per_second: 0.5}}}",
    "targets: {m: {url: http://h, concurrency_limit: {max_concurrent_requests: 0}}}",
    "auth: {key_definitions: {a: {key: b, labels: {x: y}}}}\ndefaults: {keys: [a]}\ntargets: {}\nstrict_mode: false",
    "http_pool: {max_idle_per_host: 5, idle_timeout_secs: 90}\nserver: {max_buffered: 1GiB}\ntargets: {}",
]
BAD = [
    "targets: []",
    "{}",
    "targets: {m: {}}",
    "targets: {m: {providers: [{}]}}",
    "targets: {m: 5}",
    "targets: {m: {url: ftp://h}}",
    "targets: {m: {url: 'http://u@h'}}",
    "targets: {m: {url: 'http://h?x'}}",
    "targets: {m: {url: http://h, wieght: 3}}",
    "targets: {m: {url: http://h, weight: '3'}}",
    "targets: {m: {url: http://h, weight: -3}}",
    "targets: {m: {url: http://h, trusted: 'true'}}",
    "targets: {m: {url: http://h, strategy: fastest}}",
    "targets: {m: {url: http://h, keys: k}}",
    "targets: {m: {url: http://h, onwards_key: [k]}}",
    "targets: {m: {url: http://h, timeouts: {idle: soon}}}",
    "targets: {m: {url: http://h, timeouts: {idle: 0}}}",
    "targets: {m: {url: http://h, max_body: big}}",
    "targets: {m: {url: http://h, response_headers: {'a b': c}}}",
    "targets: {m: {url: http://h, upstream_auth_header_name: 'a:b'}}",
    "targets: {m: {url: http://h, fallback: {on_status: [60]}}}",
    "targets: {m: {url: http://h, fallback: {max_attempts: 0}}}",
    "targets: {m: {url: http://h, rate_limit: {burst_size: 5}}}",
    "targets: {m: {url: http://h, rate_limit: {requests_per_second: 0}}}",
    "targets: {m: {local: {engine: gpt}}}",
    "targets: {m: {local: {engine: echo, error_rate: 2}}}",
    "auth: {key_definitions: {a: {}}}\ntargets: {}",
    "target: {}\ntargets: {}",
]


@pytest.mark.parametrize("text", GOOD)
def test_what_the_loader_takes_the_schema_takes(text: str) -> None:
    """An editor must not underline what works."""
    assert errors(text, AnyReference()) == []
    assert [failure.message for failure in VALIDATOR.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize("text", BAD)
def test_what_the_schema_refuses_the_loader_refuses(text: str) -> None:
    """And an editor should underline what does not work."""
    assert errors(text)
    assert list(VALIDATOR.iter_errors(yaml.safe_load(text)))


class AnyReference(AnyVariable):
    """Only HOST is set, so that the defaults of the others count."""

    def __getitem__(self, name: str) -> str:
        if name != "HOST":
            raise KeyError(name)
        return "h"


@pytest.mark.parametrize("block", BLOCKS)
def test_every_yaml_block_of_the_documents_is_a_file_that_loads(block: str, tmp_path: Path) -> None:
    """Readers copy them; files that they refer to exist below the folder of the configuration."""
    for name in re.findall(r"\$\{file:([^}/][^}]*)\}", block):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("value")
    assert parse(block, str(tmp_path / "targets.yaml"), AnyVariable()).snapshot.pools
    assert list(VALIDATOR.iter_errors(yaml.safe_load(block))) == []


def test_the_reference_holds_blocks_to_load() -> None:
    """Otherwise the test above would test nothing."""
    assert len(_BLOCK.findall(REFERENCE)) >= 3


@pytest.mark.parametrize("shape", ALL_SHAPES, ids=lambda shape: shape.cls.__name__)
def test_the_reference_describes_every_key_as_the_schema_does(shape: mi.StructType) -> None:
    """One row per key, with the words that editors show."""
    for field in shape.fields:
        assert isinstance(field.type, mi.Metadata)
        described = (field.type.extra_json_schema or {})["description"]
        assert re.search(rf"^\| `{field.name}` \|.*{re.escape(described)}", REFERENCE, re.MULTILINE), field.name


def test_every_setting_of_the_snapshot_can_be_set() -> None:
    """Fields of the compiled classes and keys of the file go by the same names."""
    properties = generate()["definitions"]
    assert isinstance(properties, dict)
    assert set(properties["Server"]["properties"]) == set(ServerSettings.__slots__)
    assert set(properties["HttpPool"]["properties"]) == {"max_idle_per_host", "idle_timeout_secs"}
    assert set(HttpPoolSettings.__slots__) == {"max_idle_per_host", "idle_timeout"}


def test_the_shipped_file_needs_no_network_and_no_key() -> None:
    """A first run works anywhere, and editors find the schema."""
    path = ROOT / "targets.yaml"
    made = load(path, {})
    assert all("install" in str(warning) for warning in made.warnings), "only the optional models may be missing"
    assert list(made.snapshot.pools) == ["smollm2", "minilm", "demo", "echo"]
    assert all(member.local is not None for pool in made.snapshot.pools.values() for member in pool.providers)
    modeline = path.read_text().splitlines()[0]
    assert (ROOT / modeline.partition("$schema=")[2]).is_file()
