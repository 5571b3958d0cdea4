"""Shared by all tests: the event loop is the one that the program runs on."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("without deadlines", deadline=None)  # other processes may have the machine for a while
settings.load_profile("without deadlines")


def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores for ``-n auto``: many tests wait for processes and providers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + (cores + 1) // 2


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}
