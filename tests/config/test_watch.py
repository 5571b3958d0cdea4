"""What a change on disk amounts to: looked at without reloader, read when it has settled, judged as a whole."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from config_helpers import NOTHING
from support.files import rename_over

from onwards_py.config.parse import LoadedConfig, load
from onwards_py.config.reload import InvalidConfig, Reloader, ReloadResult, ReloadStatus, Unchanged
from onwards_py.config.watch import ConfigWatcher

SECOND = "targets: {second: {local: {engine: echo}}}\n"
INVALID = "targets:\n  m: {url: ftp://x}\n  n: {ulr: http://x}\n"


def target(name: str) -> str:
    return f"targets: {{{name}: {{local: {{engine: echo}}}}}}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "targets.yaml"
    path.write_text(target("first"))
    return path


def begun(path: Path, env: Mapping[str, str] = NOTHING) -> Reloader:
    """A reading of the file as it is, for which nothing is new."""
    reloader = Reloader(path, env, load(path, env))
    assert settled(reloader) is Unchanged.ACTIVE
    assert settled(reloader) is None
    return reloader


def settled(reloader: Reloader) -> ReloadResult | None:
    """The result after two looks; None if there was nothing to read. A Loaded is put into force."""
    reloader.has_changed()
    if not reloader.has_changed():
        return None
    result = reloader.reload()
    if isinstance(result, LoadedConfig):
        reloader.note_applied(result)
        assert settled(reloader) is Unchanged.ACTIVE
    tick()
    return result


def tick() -> None:
    """Return when the clock of the file system has gone on, as it does between two real looks."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        file.touch()
        before = file.stat().st_mtime_ns
        while file.stat().st_mtime_ns == before:
            file.touch()


def names(result: ReloadResult | None) -> list[str]:
    """The targets of what was put into force."""
    assert isinstance(result, LoadedConfig), result
    return list(result.snapshot.pools)


def problems(result: ReloadResult | None) -> list[str]:
    assert isinstance(result, InvalidConfig), result
    return [str(problem) for problem in result.problems]


def test_files_that_nobody_changed_are_not_read_again(path: Path) -> None:
    """But for the once after the start: they were read before they were looked at."""
    reloader = begun(path)
    assert [reloader.has_changed() for _ in range(5)] == [False] * 5


def test_a_file_that_is_written_in_place_is_read(path: Path) -> None:
    """Same inode, other content."""
    reloader = begun(path)
    path.write_text(SECOND)
    assert names(settled(reloader)) == ["second"]
    assert settled(reloader) is None


def test_one_atomic_rename_after_the_other_is_noticed(path: Path) -> None:
    """Not only the first."""
    reloader = begun(path)
    for number in range(5):
        rename_over(path, target(f"m{number}"))
        assert names(settled(reloader)) == [f"m{number}"]


def test_a_swapped_symbolic_link_on_the_way_is_noticed(tmp_path: Path) -> None:
    """Kubernetes: the file is a link into ``..data``, itself a link that is replaced by a rename."""
    path = tmp_path / "targets.yaml"
    for number in range(4):
        folder = tmp_path / f"..2026_{number}"
        folder.mkdir()
        (folder / "targets.yaml").write_text(target(f"m{number}"))
    (tmp_path / "..data").symlink_to("..2026_0")
    path.symlink_to("..data/targets.yaml")
    reloader = begun(path)
    for number in (1, 2, 3):
        (tmp_path / "..data_tmp").symlink_to(f"..2026_{number}")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        assert names(settled(reloader)) == [f"m{number}"]


def test_a_file_with_the_same_size_and_time_as_before_is_noticed(path: Path) -> None:
    """Copies may keep the modification time, and inodes are used again; the change time tells."""
    before = path.stat()
    reloader = begun(path)
    text = path.read_text().replace("first", "third")
    path.unlink()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert names(settled(reloader)) == ["third"]


@pytest.mark.parametrize(
    "change",
    [
        os.utime,
        lambda path: path.chmod(0o600),
        lambda path: path.write_text(path.read_text()),
        lambda path: rename_over(path, path.read_text()),
    ],
    ids=["touch", "chmod", "same text", "same text renamed over"],
)
def test_what_leaves_the_content_as_it_is_changes_nothing(path: Path, change: Callable[[Path], object]) -> None:
    """It is read, found to be the same, and not read a second time."""
    reloader = begun(path)
    change(path)
    assert settled(reloader) is Unchanged.ACTIVE
    assert settled(reloader) is None


def test_a_file_that_is_still_being_written_is_left_alone(path: Path) -> None:
    """As long as each look sees something else."""
    reloader = begun(path)
    with path.open("w") as file:
        for number, line in enumerate(
            ["targets:\n", "  a: {local: {engine: echo}}\n", "  b: {local: {engine: echo}}\n"]
        ):
            file.write(line)
            file.flush()
            assert not reloader.has_changed(), number
    assert reloader.has_changed()
    assert names(settled(reloader)) == ["a", "b"]


def test_a_file_that_changes_while_it_is_read_is_read_again(path: Path) -> None:
    """Nothing is concluded from what may be half of it."""

    class Meddling(Mapping[str, str]):
        """Looking a variable up changes the file, if there is anything to change it to."""

        def __init__(self) -> None:
            self.texts: list[str] = []

        def __getitem__(self, name: str) -> str:
            if self.texts:
                path.write_text(self.texts.pop())
            return "echo"

        def __iter__(self) -> Iterator[str]:
            return iter(())

        def __len__(self) -> int:
            return 0

    env = Meddling()
    reloader = begun(path, env)
    path.write_text("targets: {a: {local: {engine: '${E}'}}}")
    env.texts.append("targets: {a: {local: {engine: '${E}'}}, b: {local: {engine: echo}}}")
    assert settled(reloader) is Unchanged.MOVING
    assert names(settled(reloader)) == ["a", "b"]


def test_a_changed_secret_is_a_changed_configuration(path: Path) -> None:
    """The file itself stays as it is."""
    secret = path.with_name("secret")
    secret.write_text("sk-1\n")
    path.write_text("targets: {m: {url: 'http://a', onwards_key: '${file:secret}'}}")
    reloader = begun(path)
    for token in ("sk-2", "sk-3"):
        rename_over(secret, token)
        result = settled(reloader)
        assert isinstance(result, LoadedConfig)
        credential = result.snapshot.pools["m"].providers[0].credential
        assert credential == (b"Authorization", f"Bearer {token}".encode())


def test_a_changed_trust_store_is_another_origin(path: Path) -> None:
    """So that no connection that trusts the old one serves the new configuration."""
    store = path.with_name("ca.pem")
    store.write_text("-----BEGIN CERTIFICATE-----\none")
    path.write_text("targets: {m: {url: 'https://a', tls: {ca_file: ca.pem}}}")
    before = load(path, {}).snapshot.pools["m"].providers[0]
    reloader = begun(path)
    store.write_text("-----BEGIN CERTIFICATE-----\ntwo")
    result = settled(reloader)
    assert isinstance(result, LoadedConfig)
    after = result.snapshot.pools["m"].providers[0]
    assert after.identity == before.identity
    assert after.origin != before.origin


def test_what_is_invalid_is_refused_with_all_its_problems_once(path: Path) -> None:
    """With line and column, and not again before it changes."""
    reloader = begun(path)
    path.write_text(INVALID)
    told = problems(settled(reloader))
    assert [line.removeprefix(str(path)).split(" ")[0] for line in told] == [":2:12:", ":3:3:", ":3:7:"]
    assert settled(reloader) is None
    os.utime(path)
    assert settled(reloader) is Unchanged.STILL_REJECTED
    path.write_text(SECOND)
    assert names(settled(reloader)) == ["second"]


def test_going_back_to_what_is_in_force_ends_the_refusal(path: Path) -> None:
    """Nothing is compiled again for that."""
    reloader = begun(path)
    text = path.read_text()
    path.write_text(INVALID)
    assert problems(settled(reloader))
    path.write_text(text)
    assert settled(reloader) is Unchanged.RESTORED
    assert settled(reloader) is None


def test_a_missing_file_is_told_once_and_found_when_it_is_back(path: Path) -> None:
    """Some editors move a file away before they write the new one."""
    reloader = begun(path)
    text = path.read_text()
    path.unlink()
    assert problems(settled(reloader)) == [f"{path}: is not a file any more"]
    assert settled(reloader) is None
    path.write_text(text)
    assert settled(reloader) is Unchanged.RESTORED
    path.unlink()
    assert problems(settled(reloader))
    path.write_text(SECOND)
    assert names(settled(reloader)) == ["second"]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_any_more_is_not_opened(path: Path, make: Callable[[Path], None]) -> None:
    """Opening a pipe would wait for somebody who writes to it."""
    reloader = begun(path)
    path.unlink()
    make(path)
    assert problems(settled(reloader)) == [f"{path}: is not a file any more"]
    assert settled(reloader) is None


def test_a_secret_that_was_missing_is_looked_for(path: Path) -> None:
    """A configuration refused for it is accepted when the secret comes, without being touched itself."""
    reloader = begun(path)
    path.write_text("targets: {m: {url: 'http://a', onwards_key: '${file:late}'}}")
    assert "there is no file" in problems(settled(reloader))[0]
    path.with_name("late").write_text("sk")
    assert names(settled(reloader)) == ["m"]


def test_files_that_are_not_named_any_more_are_not_looked_at(path: Path) -> None:
    """A secret of yesterday may come and go."""
    secret = path.with_name("secret")
    secret.write_text("sk")
    path.write_text("targets: {m: {url: 'http://a', onwards_key: '${file:secret}'}}")
    reloader = begun(path)
    path.write_text(SECOND)
    assert names(settled(reloader)) == ["second"]
    secret.unlink()
    assert settled(reloader) is None


def test_what_could_not_be_put_into_force_is_not_tried_again(path: Path) -> None:
    """Until it changes; what is in force is known to be still there."""
    reloader = begun(path)
    text = path.read_text()
    path.write_text(SECOND)
    reloader.has_changed()
    assert reloader.has_changed()
    result = reloader.reload()
    assert isinstance(result, LoadedConfig)
    reloader.note_apply_failed(result)
    assert settled(reloader) is Unchanged.STILL_REJECTED
    assert settled(reloader) is None
    path.write_text(text)
    assert settled(reloader) is Unchanged.RESTORED


# When it is read, and what is told. Writing a small file does not stall the loop of a test.
# ruff: noqa: ASYNC240


class Bench:
    """A reloader that only reads when asked, and what it did."""

    def __init__(self, path: Path) -> None:
        loaded = load(path, {})
        self.status = ReloadStatus(path, 0.0)
        self.status.describe(loaded)
        self.applied: list[list[str]] = []
        self.fail = False
        self.watcher = ConfigWatcher(Reloader(path, {}, loaded), self.status, self._apply, None)

    def _apply(self, loaded: LoadedConfig) -> None:
        if self.fail:
            raise RuntimeError("planted")
        self.applied.append(list(loaded.snapshot.pools))

    async def ask(self) -> None:
        """Ask, and wait until that was answered."""
        before = sum(self.status.results.values())
        self.watcher.request_reload()
        while sum(self.status.results.values()) == before:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_asking_applies_refuses_or_finds_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without two looks, and with a line in the log for each."""
    caplog.set_level(logging.INFO, "onwards.config")
    bench = Bench(path)
    text = path.read_text()
    await bench.ask()
    path.write_text(SECOND)
    await bench.ask()
    path.write_text(INVALID)
    await bench.ask()
    await bench.ask()
    assert bench.status.last_error is not None
    assert len(bench.status.last_error.problems) == 3
    assert bench.status.generation == 2
    path.write_text(SECOND)
    await bench.ask()
    assert bench.status.last_error is None
    path.write_text(text)
    await bench.ask()
    await bench.watcher.close()
    assert bench.applied == [["second"], ["first"]]
    assert bench.status.results == {"applied": 2, "unchanged": 3, "refused": 1}
    assert [record.message.partition(str(path))[0] for record in caplog.records if record.levelno == logging.INFO] == [
        "configuration unchanged: the content of ",
        "configuration 2 applied: ",
        "configuration unchanged: the content of ",
        "configuration 2 is again the content of ",
        "configuration 3 applied: ",
    ]
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 3 + 1


async def test_a_failure_inside_leaves_the_old_one_and_the_watch_alive(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told with a traceback; the next change is taken."""
    bench = Bench(path)
    bench.fail = True
    path.write_text(SECOND)
    await bench.ask()
    assert bench.status.last_error is not None
    assert bench.status.last_error.problems == ("internal error: RuntimeError",)
    assert "planted" in caplog.text
    bench.fail = False
    path.write_text(target("third"))
    await bench.ask()
    await bench.watcher.close()
    assert bench.applied == [["third"]]
    assert bench.status.last_error is None


async def test_a_file_that_moves_while_asked_for_is_asked_for_again(path: Path) -> None:
    """Who sends one signal need not send another."""
    bench = Bench(path)
    for _ in range(20):
        bench.watcher.request_reload()
        path.write_text(target("a"))
        await asyncio.sleep(0)
        path.write_text(SECOND)
    while bench.applied[-1:] != [["second"]]:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await bench.watcher.close()
