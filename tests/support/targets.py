"""Configurations for tests, written as Python and read by the real loader."""

from __future__ import annotations

import json
from collections.abc import Mapping

from onwards_py.config.parse import parse
from onwards_py.model.snapshot import Snapshot

Shape = Mapping[str, object]


def snapshot(targets: Mapping[str, object], **top: object) -> Snapshot:
    """The compiled file with these ``targets`` and further top-level keys. Raises ConfigError."""
    return parse(json.dumps({"targets": targets, **top}), "targets.yaml", {}).snapshot


def single(url: str, **options: object) -> Snapshot:
    """One target ``m`` with one provider at ``url``."""
    return snapshot({"m": {"url": url, **options}})


def pool(*urls: str, **options: object) -> Snapshot:
    """One target ``m`` with a provider at each of ``urls``, tried in this order."""
    return snapshot({"m": {"strategy": "priority", "providers": [{"url": url} for url in urls], **options}})


def single_with(url: str, server: str) -> Snapshot:
    """One target ``m`` with one provider at ``url``; ``server`` are the members of that section, in YAML."""
    return parse(f"server: {{{server}}}\ntargets: {{m: {{url: '{url}'}}}}", "targets.yaml", {}).snapshot
