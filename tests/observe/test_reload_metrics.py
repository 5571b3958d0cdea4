"""Metrics of the configuration: the documented ones, and only what is in force."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from support.tables import table

from onwards_py.config.parse import LoadedConfig
from onwards_py.config.reload import ReloadStatus
from onwards_py.model.snapshot import Snapshot
from onwards_py.observe.reload_metrics import ReloadMetrics

PATH = Path("targets.yaml")


def loaded(digit: str) -> LoadedConfig:
    return LoadedConfig(Snapshot({}), sources={PATH: digit * 64})


def shown(status: ReloadStatus) -> dict[str, float]:
    """Samples by name and labels, as they are exposed."""
    registry = CollectorRegistry()
    registry.register(ReloadMetrics(status))
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_the_documented_metrics_are_those_that_exist() -> None:
    """Name, type and labels of docs/reference/metrics.md, both ways."""
    registry = CollectorRegistry()
    registry.register(ReloadMetrics(ReloadStatus(PATH, 1.0)))
    lines = [line.split() for line in generate_latest(registry).decode().splitlines()]
    types = {line[2]: line[3] for line in lines if line[:2] == ["#", "TYPE"]}
    labels = {
        name.partition("{")[0]: name.partition("{")[2].partition("=")[0] for name in shown(ReloadStatus(PATH, 1.0))
    }
    rows = table("reference/metrics.md", "name", "## Configuration")
    assert {row[0]: row[1] for row in rows} == types
    assert {row[0]: row[2] for row in rows} == labels


def test_they_follow_what_is_in_force() -> None:
    """A refusal is seen in two places, and takes nothing from what describes the file in force."""
    status = ReloadStatus(PATH, 10.0)
    status.describe(loaded("a"))
    status.note_applied(loaded("b"), 20.0)
    applied = shown(status)
    assert applied['onwards_config_info{sha256="bbbbbbbbbbbbbbbb"}'] == 1
    assert applied["onwards_config_last_reload_successful"] == 1
    status.note_refused(("f.yaml:1:1: no",), 30.0)
    changes = {
        'onwards_config_reloads_total{result="refused"}': 1.0,
        "onwards_config_last_reload_successful": 0.0,
    }
    assert shown(status) == applied | changes
    status.note_unchanged(restored=True)
    assert shown(status)["onwards_config_last_reload_successful"] == 1
