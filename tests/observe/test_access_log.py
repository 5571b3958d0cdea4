"""The access log: the line as documented, and a writer that never blocks its caller."""

from __future__ import annotations

import errno
import io
import json
import threading
from collections.abc import Callable

import msgspec
from support.program import wait_until
from support.tables import table

from onwards_py.config.parse import parse
from onwards_py.live_state import ConfigHolder, LiveState
from onwards_py.messages import InboundRequest
from onwards_py.observe.access_log import LineWriter, access_line
from onwards_py.observe.log_row import LogRow
from onwards_py.observe.metrics import Metrics
from onwards_py.observe.outcomes import OUTCOMES
from onwards_py.observe.recorder import Recorder
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.route_by import ResponseBuffer


class Timers:
    """call_later of an event loop, run by hand."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_later(self, _seconds: float, callback: Callable[[], None]) -> None:
        self.due.append(callback)

    def fire(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()


class Pipe(io.BytesIO):
    """A stream whose writes block until ``open`` is set. ``blocked`` is set while one waits."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.blocked = threading.Event()

    def write(self, data: object) -> int:
        if not self.open.is_set():
            self.blocked.set()
            assert self.open.wait(10)
        return super().write(data)  # type: ignore[arg-type]


class Broken(io.BytesIO):
    """A pipe whose reader has gone."""

    def write(self, data: object) -> int:
        raise BrokenPipeError


def test_the_documented_fields_are_those_of_a_line() -> None:
    """docs/reference/access-log.md, in the order of the line."""
    row = LogRow(100.0, 100.125, 100.25, b"POST", b"/v1/x?key=secret", "10.0.0.1", 4)
    line = json.loads(access_line(row, -98.75))
    assert list(line) == [row[0] for row in table("reference/access-log.md", "field")]
    assert (line["ts"], line["ms_head"], line["ms"], line["bytes_in"], line["path"]) == (1.5, 125, 250, 4, "/v1/x")


def test_the_documented_outcomes_are_those_of_the_code() -> None:
    """docs/reference/access-log.md, both ways."""
    assert [row[0] for row in table("reference/access-log.md", "outcome")] == list(OUTCOMES)


def test_a_path_is_cut_and_stays_json() -> None:
    """200 characters, and whatever bytes a client sends make a valid line."""
    line = access_line(LogRow(0.0, 0.0, 0.0, b"GET", b'/\xff\x00"\n' + b"x" * 1000, "", 0), 0.0)
    assert b"\n" not in line
    assert len(json.loads(line)["path"]) == 200


def test_lines_are_written_in_order_and_what_is_queued_at_the_end() -> None:
    stream = io.BytesIO()
    writer = LineWriter(stream)
    writer.write([b"1", b"2"])
    wait_until(lambda: stream.getvalue() == b"1\n2\n", "the first two lines")
    writer.write([])
    writer.write([b"3"])
    writer.close()
    assert stream.getvalue() == b"1\n2\n3\n"
    assert writer.dropped == 0


def test_a_stream_that_blocks_costs_lines_and_not_time() -> None:
    """Write returns while the stream is stuck; what does not fit the queue is dropped and counted to the line."""
    stream = Pipe()
    writer = LineWriter(stream)
    writer.write([b"first"])
    assert stream.blocked.wait(10)
    written = 1
    while not writer.dropped:
        writer.write([b"x"] * 512)
        written += 512
        assert written < 1_000_000, "the queue has no end"
    assert writer.dropped == 512
    stream.open.set()
    writer.close()
    assert stream.getvalue().count(b"\n") == written - writer.dropped
    assert stream.getvalue().startswith(b"first\nx\n")


def test_close_gives_up_on_a_stream_that_blocks() -> None:
    """A reader that never reads does not keep the program from ending."""
    stream = Pipe()
    writer = LineWriter(stream)
    writer.write([b"never"])
    writer.close(0.01)
    assert stream.getvalue() == b""
    stream.open.set()


def test_a_broken_stream_costs_lines() -> None:
    """They are counted, and the next ones are tried again."""
    writer = LineWriter(Broken())
    writer.write([b"x"] * 3)
    wait_until(lambda: writer.dropped == 3, "the count of dropped lines")
    writer.write([b"x"])
    writer.close()
    assert writer.dropped == 4


class SmallDisk(io.BytesIO):
    """Takes ``room`` bytes, as a file on a disk does that is nearly full: what fits, then an error."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: object) -> int:
        assert isinstance(data, bytes)
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = super().write(data[: self.room])
        self.room -= count
        return count


def test_a_line_that_a_full_disk_cut_stands_alone() -> None:
    """What is written once there is room again begins on a line of its own; each lost line is counted once."""
    disk = SmallDisk(6)
    writer = LineWriter(disk)
    writer.write([b"one", b"two", b"three"])
    wait_until(lambda: writer.dropped == 2, "two lost lines")
    writer.write([b"four"])
    wait_until(lambda: writer.dropped == 3, "one more")
    disk.room = 100
    writer.write([b"five"])
    writer.close()
    assert disk.getvalue().split(b"\n") == [b"one", b"tw", b"five", b""]
    assert writer.dropped == 3


def test_records_are_written_by_the_timer_by_number_and_by_a_flush() -> None:
    """A lone record waits a quarter of a second at most; many at once do not wait for it; a scrape sees all."""
    metrics = Metrics(
        ConfigHolder(parse("targets: {}", "targets.yaml", {}).snapshot, LiveState(lambda: 0.0)),
        in_flight=lambda: 0,
        dropped_lines=lambda: 0,
        open_connections=lambda: 0,
        refused_connections=lambda: 0,
    )
    stream, timers = io.BytesIO(), Timers()
    writer = LineWriter(stream)
    recorder = Recorder(metrics, writer, timers.call_later, lambda: 0.0)

    def end_one() -> None:
        recorder.record(LogRow(1.0, 0.0, 2.0, b"POST", b"/v1/x", "", 4))

    end_one()
    assert len(timers.due) == 1
    timers.fire()
    wait_until(lambda: stream.getvalue().count(b"\n") == 1, "the record that the timer writes")
    for _ in range(512):
        end_one()
    wait_until(lambda: stream.getvalue().count(b"\n") == 513, "the records that their number writes")
    end_one()
    recorder.flush()
    writer.close()
    assert stream.getvalue().count(b"\n") == 514


def test_a_row_keeps_neither_the_body_nor_the_connection() -> None:
    """What waits to be written is values only, and the request's body is released when the exchange ends."""
    request = InboundRequest(b"POST", b"/v1/x", 1, [], b"x" * 1000, "")
    row = Exchange(request, ResponseBuffer(), 1.0).log_row(2.0)
    assert (request.body, row.bytes_in) == (b"", 1000)
    assert not any(isinstance(value, InboundRequest | ResponseBuffer) for value in msgspec.structs.astuple(row))
