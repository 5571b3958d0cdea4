"""Shared by all tests: the event loop is the one that the program runs on."""

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
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


def _place(item: pytest.Function) -> tuple[Hashable, ...]:
    """The place of a case in the table of its function: which row of each `parametrize`, but not which door."""
    names = [mark.args[0] for mark in item.iter_markers("parametrize")]
    groups = [tuple(one.replace(" ", "").split(",") if isinstance(one, str) else one) for one in names]
    return tuple(tuple(id(item.callspec.params[name]) for name in group) for group in groups if "lane" not in group)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Apply the marker ``either_door``: the tested code is behind the doors, so one door for each case is enough.

    The doors alternate in each direction of a table, as the colours of a chess board: whatever the number of its
    columns, each value of each parameter runs behind both doors, combined with different values of the others. A
    function with one case, and a case that was selected for one door only, are not changed.
    """
    functions: defaultdict[str, defaultdict[tuple[Hashable, ...], dict[bool, pytest.Item]]]
    functions = defaultdict(lambda: defaultdict(dict))
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("either_door"):
            doors = functions[item.nodeid.partition("[")[0]][_place(item)]
            doors[bool(item.callspec.params["lane"])] = item
    spared: set[pytest.Item] = set()
    for places in functions.values():
        if len(places) < 2:
            continue
        rows = [list(dict.fromkeys(values)) for values in zip(*places, strict=True)]
        for place, doors in places.items():
            if len(doors) == 2:
                colour = sum(row.index(value) for row, value in zip(rows, place, strict=True))
                spared.add(doors[colour % 2 == 1])
    items[:] = [item for item in items if item not in spared]
    config.hook.pytest_deselected(items=list(spared))
