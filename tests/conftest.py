"""Shared by all tests: the event loop is the one that the program runs on."""

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

pytest.register_assert_rewrite("support", "fault_providers", "fault_stage")

# Hundreds of processes are started, and compile the package once if they may keep the result.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Without deadlines: other processes may have the machine for a while.
settings.register_profile("development", deadline=None, max_examples=20)
settings.register_profile("ci", deadline=None, max_examples=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "development"))


def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores for ``-n auto``: many tests wait for processes and providers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + (cores + 1) // 2


@pytest.fixture(params=[True, False], ids=["lane", "aiohttp"])
def lane(request: pytest.FixtureRequest) -> bool:
    """The door that the gateway listens with: the byte lane, or aiohttp. A test that takes it runs behind both."""
    return bool(request.param)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Apply the marker ``either_door``: the tested code is behind the doors, so one door for each case is enough.

    The cases alternate between the doors, so each test function still runs behind both. A function with one case, and
    cases that were selected for one door only, are not changed.
    """
    functions: defaultdict[str, tuple[list[pytest.Item], list[pytest.Item]]] = defaultdict(lambda: ([], []))
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("either_door"):
            functions[item.nodeid.partition("[")[0]][bool(item.callspec.params["lane"])].append(item)
    spared: set[pytest.Item] = set()
    for doors in functions.values():  # the cases of a function come in the same order for each door
        if len(doors[0]) == len(doors[1]) > 1:
            spared.update(*(doors[(number + 1) % 2][number : number + 1] for number in range(len(doors[0]))))
    items[:] = [item for item in items if item not in spared]
    config.hook.pytest_deselected(items=list(spared))
