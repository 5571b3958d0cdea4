"""Broken gateways. Each has one small defect, of the kind that proxies have had; the fault suite must notice it.

Most are a transport that stands around the real one, put in its place when the gateway is made; where nothing can be
put in, bytes are changed on their way to the gateway.
"""

from __future__ import annotations

from dataclasses import replace

from broken_parts import (
    FOREVER,
    AlwaysFine,
    Around,
    AsksForNobody,
    CleanEnd,
    EarlyRelease,
    ForgetsPermit,
    ForwardsHopByHop,
    GoesOnElsewhere,
    KeepsNominated,
    LeavesTask,
    MovesOnForClients,
    Naive,
    NoBackPressure,
    NoEventStream,
    NoRetryAfter,
    SendsAgain,
    TakesSentForUnsent,
    TellsFine,
    WaitsForAll,
    WorksOn,
    answers,
    patient,
)
from fault_stage import Defect, limiters_of

from onwards_py.app import Application
from onwards_py.limits.wait_queue import WaitQueue
from onwards_py.observe.log_row import LogRow
from onwards_py.observe.outcomes import CLIENT_GONE_WAITING
from onwards_py.proxy.handler import RowRecorder


def around(name: str, kind: type[Around]) -> Defect:
    """The defect of a gateway with such a transport."""

    def put_in(application: Application) -> None:
        application._transports.http = kind(application._transports.http, application)

    return Defect(name, put_in)


def _no_patience(application: Application) -> None:
    snapshot = application.holder.current.snapshot
    application.holder.replace(replace(snapshot, server=replace(snapshot.server, drain_timeout=0.0)))


class Asleep(WaitQueue):
    """A line that nobody is called from."""

    def wake(self) -> None:
        """Sleep on."""


def _asleep(application: Application) -> None:
    for limiter in limiters_of(application):
        if limiter.queue is not None:
            limiter.queue = Asleep(limiter.queue.policy, application._loop.call_soon)


class Forgetful:
    """A recorder that drops the rows of clients that left."""

    def __init__(self, inner: RowRecorder) -> None:
        self.inner = inner

    def record(self, row: LogRow) -> None:
        if row.outcome != CLIENT_GONE_WAITING:
            self.inner.record(row)


def _forgetful(application: Application) -> None:
    application.proxy._recorder = Forgetful(application.proxy._recorder)


CODED = b"Transfer-Encoding: gzip, chunked"


def _without_coding(data: bytes) -> bytes:
    return data.replace(CODED, b"Transfer-Encoding: chunked")


def _with_crlf(data: bytes) -> bytes:
    return data if b"\r\n" in data.partition(b"\n\n")[0] else data.replace(b"\n", b"\r\n")


OF_THE_LANE = {"ends without waiting"}
"""Defects that the other door covers up: it gives exchanges a moment in any case, and cannot be told not to."""

SIMPLE = {
    "keeps a poisoned connection",
    "takes what is behind an answer for the next",
    "knows no fresh connection",
}
"""Defects whose transport knows no chunks."""

# The defect, and the cases (number, and words of the name) of which one at least must fail.
DEFECTS: list[tuple[Defect, list[tuple[str, str]]]] = [
    (around("gives a cut stream a clean end", answers(CleanEnd)), [("C44", "alone")]),
    (around("waits for the whole answer", answers(WaitsForAll)), [("F99", "stream")]),
    (around("reads on for clients that do not", answers(NoBackPressure)), [("E94", "")]),
    (around("gives permits back at the head", answers(EarlyRelease)), [("E97", "places")]),
    (around("streams on for a client that left", answers(WorksOn)), [("D90", "within")]),
    (around("passes on what Connection names", answers(KeepsNominated)), [("B41", "")]),
    (around("drops the Retry-After of the last response", answers(NoRetryAfter)), [("C-retry", "nobody is left")]),
    (around("drops the Retry-After of the first response", answers(NoRetryAfter)), [("C-retry", "first one's")]),
    (around("answers 200 for an error", answers(AlwaysFine)), [("C-retry", "500 X, alone")]),
    (around("answers 200 for an empty reply", TellsFine), [("B16", "alone")]),
    (around("answers 200 for a provider that is not there", TellsFine), [("A1", "alone")]),
    (around("sends a POST again", SendsAgain), [("B16", "alone"), ("B17", "alone")]),
    (around("moves on with a POST that was sent", TakesSentForUnsent), [("B16", "POST stays")]),
    (around("forgets a permit on fallback", ForgetsPermit), [("A1", "next serves")]),
    (around("forgets a permit on failure", ForgetsPermit), [("B16", "alone")]),
    (around("moves on for a client's error", MovesOnForClients), [("C-retry", "client's error")]),
    (around("asks on for a client that left", AsksForNobody), [("D90", "before")]),
    (around("forwards hop-by-hop fields", ForwardsHopByHop), [("D82", "")]),
    (around("goes on elsewhere after commit", GoesOnElsewhere), [("C44", "alone")]),
    (around("ignores first_byte", patient(first_byte=FOREVER)), [("B14", "alone")]),
    (around("ignores idle", patient(idle=FOREVER)), [("C48", "alone")]),
    (around("ignores connect", patient(connect=FOREVER)), [("A9", "alone")]),
    (around("keeps a poisoned connection", Naive), [("C47", "response")]),
    (around("takes what is behind an answer for the next", Naive), [("C46", "response behind a length")]),
    (around("knows no fresh connection", Naive), [("C52", "POST")]),
    (Defect("ends without waiting", put_in=_no_patience), [("F99", "stream")]),
    (
        around("does not know event streams", answers(NoEventStream)),
        [("C-opening", "an error as the first event, held")],
    ),
    (around("leaves a task behind", LeavesTask), [("A1", "alone")]),
    (Defect("calls nobody from the line", put_in=_asleep), [("D91", "waits in line")]),
    (Defect("does not tell of clients that left", put_in=_forgetful), [("D90", "before")]),
    (Defect("drops a transfer coding", relay=_without_coding), [("D72", "")]),
    (Defect("takes LF for CRLF", relay=_with_crlf), [("D63", "LF")]),
]
