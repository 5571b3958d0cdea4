"""Every engine is complete: whatever names an engine finds its class, its file formats, libraries and extra."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from onwards_py.engines.model_finder import install_hint, missing_requirements
from onwards_py.engines.protocol import EngineName, LaunchSpec
from onwards_py.engines.registry import make_engine

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("engine", get_args(EngineName))
def test_an_engine_has_a_class_formats_libraries_and_an_extra(engine: EngineName) -> None:
    """Its class is created without its libraries, which only loading needs."""
    assert make_engine(LaunchSpec(engine, "m", "s", "c")).routes is not None
    assert "m: no such file" in (missing_requirements("m", engine) or "")
    extra = re.search("the extra '(.*?)'", install_hint(engine))
    assert extra is not None
    assert extra[1] in PROJECT["optional-dependencies"]
