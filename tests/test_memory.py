"""What a burst of large bodies took goes back to the operating system."""

from __future__ import annotations

import ctypes
import sys

import pytest

from onwards_py.memory import MIN_GROWTH, MemoryTrimmer, resident, trim


class Process:
    """One whose size is as the test says."""

    def __init__(self) -> None:
        self.size = 50_000_000
        self.held = 0
        self.given_back = 0

    def give_back(self) -> None:
        self.given_back += 1
        self.size = 60_000_000 + self.held


async def test_what_was_freed_is_given_back_once() -> None:
    """When the process has grown by enough, and most of that is not in use; and then not again."""
    process = Process()
    freed = MemoryTrimmer(lambda: process.held, lambda: process.size, process.give_back)
    process.size += MIN_GROWTH - 1
    assert freed.check() is None
    process.size += MIN_GROWTH
    process.held = MIN_GROWTH + 10_000_000
    assert freed.check() is None, "bodies are being held"
    process.held = 1_000_000
    work = freed.check()
    assert work is not None
    assert freed.check() is None, "it is being done"
    await work
    assert freed.check() is None
    assert process.given_back == 1
    process.size += MIN_GROWTH
    process.held = MIN_GROWTH // 2 - 1
    work = freed.check()
    assert work is not None
    await work
    assert process.given_back == 2
    process.held = 0
    process.size += 30_000_000
    work = freed.check()
    assert work is not None, "what was in use the last time is free now"
    await work
    assert process.size == 60_000_000
    freed.close()


async def test_a_process_that_is_large_for_good_is_left_alone() -> None:
    """What could not be given back is what it is from then on."""
    process = Process()
    freed = MemoryTrimmer(lambda: 0, lambda: process.size, lambda: None)
    process.size += 2 * MIN_GROWTH
    work = freed.check()
    assert work is not None
    await work
    assert freed.check() is None
    freed.close()


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc, and /proc"
)
def test_pages_between_small_blocks_are_given_back() -> None:
    """The case that malloc does not see to by itself."""
    small = []
    large = []
    for _ in range(1000):
        large.append(bytes(bytearray(b"x")) * 100_000)
        small.append(b"x" * 2000)
    before = resident()
    large.clear()
    trim()
    assert resident() < before - 80_000_000
