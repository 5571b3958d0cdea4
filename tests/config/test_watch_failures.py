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

from onwards_py.config.parse import LoadedConfig, load
from onwards_py.config.reload import InvalidConfig, Reloader, ReloadResult, ReloadStatus, Unchanged
from onwards_py.config.watch import ConfigWatcher

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


def looked(reloader: Reloader) -> ReloadResult | None:
    """The result after two looks; None if there was nothing to read."""
    reloader.has_changed()
    return reloader.reload() if reloader.has_changed() else None


def test_a_file_that_could_not_be_opened_is_opened_again(path: Path) -> None:
    """As long as it takes, without being told as a new error each time."""
    reloader = Reloader(path, {}, load(path, {}))
    assert looked(reloader) is Unchanged.ACTIVE
    path.write_text(SECOND)
    with no_descriptors():
        result = looked(reloader)
        assert isinstance(result, InvalidConfig)
        assert "Too many open files" in str(result.problems[0])
        assert looked(reloader) is Unchanged.STILL_REJECTED
        assert looked(reloader) is Unchanged.STILL_REJECTED
    result = looked(reloader)
    assert isinstance(result, LoadedConfig)
    assert list(result.snapshot.pools) == ["second"]


def test_so_is_a_secret_that_could_not_be_opened(path: Path) -> None:
    """The file itself was read; what it names was not."""
    secret = path.with_name("secret")
    secret.write_text("k")
    text = "targets: {m: {url: 'http://h', onwards_key: '${file:secret}'}}"
    path.write_text(text)
    reloader = Reloader(path, {}, load(path, {}))
    assert looked(reloader) is Unchanged.ACTIVE
    with no_descriptors():
        assert isinstance(reloader.reload(), InvalidConfig)
    assert looked(reloader) is Unchanged.RESTORED
    assert looked(reloader) is None


def test_what_is_wrong_in_itself_is_not_read_again_and_again(path: Path) -> None:
    """Only a change of the file can put it right."""
    reloader = Reloader(path, {}, load(path, {}))
    path.write_text("targets: {m: {ulr: x}}")
    assert isinstance(looked(reloader), InvalidConfig)
    assert looked(reloader) in (Unchanged.STILL_REJECTED, None)
    assert looked(reloader) is None
    assert not reloader.must_retry


class Bench:
    """A reloader that does not watch: it reads when asked."""

    def __init__(self, path: Path) -> None:
        loaded = load(path, {})
        self.status = ReloadStatus(path, 0.0)
        self.applied: list[list[str]] = []
        self.reloader = Reloader(path, {}, loaded)
        self.watcher = ConfigWatcher(self.reloader, self.status, self._apply, None)

    def _apply(self, loaded: LoadedConfig) -> None:
        self.applied.append(list(loaded.snapshot.pools))


async def test_one_signal_is_enough_for_a_file_that_is_missing_at_that_moment(path: Path) -> None:
    """Without --watch, SIGHUP in the middle of a replacement: what comes into its place is taken without another."""
    bench = Bench(path)
    path.unlink()
    bench.watcher.request_reload()
    await until(lambda: bench.status.last_error is not None)
    path.write_text(SECOND)
    await until(lambda: bench.applied == [["second"]])
    assert bench.status.last_error is None
    await bench.watcher.close()


async def test_one_signal_is_enough_while_descriptors_are_short(path: Path) -> None:
    """The same for EMFILE; and once it is over, nobody looks any more."""
    bench = Bench(path)
    path.write_text(SECOND)
    with no_descriptors():
        bench.watcher.request_reload()
        await until(lambda: bench.status.last_error is not None)
    await until(lambda: bench.applied == [["second"]])
    assert not bench.reloader.must_retry
    await bench.watcher.close()
    assert bench.status.results == {"applied": 1, "unchanged": 0, "refused": 1}
