"""A read that failed for a reason that passes: nothing on disk looks otherwise afterwards, and still it is read."""

from __future__ import annotations

# Writing a small file does not stall the loop of a test.
# ruff: noqa: ASYNC240
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.program import until

from onwards_py.config.parse import Loaded, load
from onwards_py.config.reload import Reading, Refused, Same, Standing, Verdict
from onwards_py.config.watch import Reloader

FIRST = "targets: {first: {local: {engine: echo}}}\n"
SECOND = "targets: {second: {local: {engine: echo}}}\n"


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Every open(2) fails with EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "targets.yaml"
    path.write_text(FIRST)
    return path


def looked(reading: Reading) -> Verdict | None:
    """The verdict after two looks; None if there was nothing to read."""
    reading.look()
    return reading.read() if reading.look() else None


def test_a_file_that_could_not_be_opened_is_opened_again(path: Path) -> None:
    """As long as it takes, without being told as a new error each time."""
    reading = Reading(path, {}, load(path, {}))
    assert looked(reading) is Same.IN_FORCE
    path.write_text(SECOND)
    with no_descriptors():
        verdict = looked(reading)
        assert isinstance(verdict, Refused)
        assert "Too many open files" in str(verdict.problems[0])
        assert looked(reading) is Same.STILL_REFUSED
        assert looked(reading) is Same.STILL_REFUSED
    verdict = looked(reading)
    assert isinstance(verdict, Loaded)
    assert list(verdict.snapshot.pools) == ["second"]


def test_so_is_a_secret_that_could_not_be_opened(path: Path) -> None:
    """The file itself was read; what it names was not."""
    secret = path.with_name("secret")
    secret.write_text("k")
    text = "targets: {m: {url: 'http://h', onwards_key: '${file:secret}'}}"
    path.write_text(text)
    reading = Reading(path, {}, load(path, {}))
    assert looked(reading) is Same.IN_FORCE
    with no_descriptors():
        assert isinstance(reading.read(), Refused)
    assert looked(reading) is Same.RESTORED
    assert looked(reading) is None


def test_what_is_wrong_in_itself_is_not_read_again_and_again(path: Path) -> None:
    """Only a change of the file can put it right."""
    reading = Reading(path, {}, load(path, {}))
    path.write_text("targets: {m: {ulr: x}}")
    assert isinstance(looked(reading), Refused)
    assert looked(reading) in (Same.STILL_REFUSED, None)
    assert looked(reading) is None
    assert not reading.unfinished


class Bench:
    """A reloader that does not watch: it reads when asked."""

    def __init__(self, path: Path) -> None:
        loaded = load(path, {})
        self.standing = Standing(path, 0.0)
        self.applied: list[list[str]] = []
        self.reading = Reading(path, {}, loaded)
        self.reloader = Reloader(self.reading, self.standing, self._apply, None)

    def _apply(self, loaded: Loaded) -> None:
        self.applied.append(list(loaded.snapshot.pools))


async def test_one_signal_is_enough_for_a_file_that_is_missing_at_that_moment(path: Path) -> None:
    """Without --watch, SIGHUP in the middle of a replacement: what comes into its place is taken without another."""
    bench = Bench(path)
    path.unlink()
    bench.reloader.ask()
    await until(lambda: bench.standing.refusal is not None)
    path.write_text(SECOND)
    await until(lambda: bench.applied == [["second"]])
    assert bench.standing.refusal is None
    await bench.reloader.close()


async def test_one_signal_is_enough_while_descriptors_are_short(path: Path) -> None:
    """The same for EMFILE; and once it is over, nobody looks any more."""
    bench = Bench(path)
    path.write_text(SECOND)
    with no_descriptors():
        bench.reloader.ask()
        await until(lambda: bench.standing.refusal is not None)
    await until(lambda: bench.applied == [["second"]])
    assert not bench.reading.unfinished
    await bench.reloader.close()
    assert bench.standing.results == {"applied": 1, "unchanged": 0, "refused": 1}
