"""Probation: after the ejection of a provider one request probes it, and the result ends or extends the ejection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.chat_upstream import create
from support.gateway import Gateway, running
from support.levels import health
from support.origin import STREAM_HEAD, Origin, Peer, answer, chunk, origin
from support.raw import Client, ask, connect, post
from support.responses_promises import Json
from support.scene import until
from support.targets import snapshot

from onwards_py.routing.health import HealthState

BRIEF: Json = {"consecutive_failures": 2, "base_time": "20ms", "max_time": "60s"}
OOPS = answer(b"no", b"500 Oops")


class Patient:
    """A provider that fails until ``well`` is set; after that its answers wait for ``go``."""

    def __init__(self) -> None:
        self.well = False
        self.reply = answer(b'{"by":"first"}')
        self.go = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            if not self.well:
                await peer.send(OOPS)
                continue
            await self.go.wait()
            await peer.send(self.reply)


@asynccontextmanager
async def ejected(
    lane: bool, patient: Patient, *, own: Json | None = None, target: Json | None = None
) -> AsyncIterator[tuple[list[Origin], Gateway]]:
    """Two providers, of which the first is ejected and due for a probe; with settings of the first and of the
    target."""
    async with origin(patient) as first, origin() as second:
        providers = [{"url": first.url, **(own or {})}, {"url": second.url}]
        options = {"strategy": "priority", "ejection": BRIEF, "providers": providers, **(target or {})}
        async with running(snapshot({"m": options}), lane=lane) as gateway:
            for _ in range(2):
                await ask(gateway.port, post())
            await due(gateway)
            patient.well = True
            yield [first, second], gateway


async def due(gateway: Gateway) -> None:
    """Wait until the first provider, which is ejected, may be probed."""
    assert health(gateway).state is HealthState.EJECTED
    await until(lambda: time.monotonic() >= health(gateway).excluded_until)


async def test_one_request_probes_an_ejected_provider(lane: bool) -> None:
    """While the probe runs, all other requests go to the other provider. After its answer the ejection ends."""
    patient = Patient()
    async with ejected(lane, patient) as (origins, gateway), asyncio.TaskGroup() as tasks:
        probe = tasks.create_task(ask(gateway.port, post()))
        await origins[0].seen(3)
        for _ in range(3):
            assert (await ask(gateway.port, post())).body == b'{"ok":true}'
        assert (len(origins[0].requests), health(gateway).state) == (3, HealthState.PROBATION)
        patient.go.set()
        assert (await probe).body == b'{"by":"first"}'
        assert health(gateway).state is HealthState.HEALTHY
        assert (await ask(gateway.port, post())).body == b'{"by":"first"}'


@pytest.mark.parametrize("status", [b"400 X", b"404 X"])
async def test_any_answer_ends_probation(lane: bool, status: bytes) -> None:
    """A 4xx for a client error shows that the provider works."""
    patient = Patient()
    patient.reply = answer(b"{}", status)
    patient.go.set()
    async with ejected(lane, patient) as (_, gateway):
        assert (await ask(gateway.port, post())).status == int(status[:3])
        assert health(gateway).state is HealthState.HEALTHY


async def test_a_failed_probe_extends_the_ejection(lane: bool) -> None:
    """One failed probe is enough; no consecutive failures are needed."""
    patient = Patient()
    async with ejected(lane, patient) as (origins, gateway):
        patient.well = False
        assert (await ask(gateway.port, post())).status == 500
        assert (health(gateway).state, health(gateway).ejections) == (HealthState.EJECTED, 2)
        assert health(gateway).excluded_until > time.monotonic() + 0.02
        assert (await ask(gateway.port, post())).body == b'{"ok":true}'
        await due(gateway)
        assert (await ask(gateway.port, post())).status == 500
        assert health(gateway).ejections == 3
    assert len(origins[0].requests) == 4


async def test_the_client_of_a_failed_probe_gets_an_answer(lane: bool) -> None:
    """With fallback, the next provider answers."""
    patient = Patient()
    async with ejected(lane, patient, target={"fallback": {"enabled": True, "on_status": [5]}}) as (_, gateway):
        patient.well = False
        assert (await ask(gateway.port, post())).body == b'{"ok":true}'
        assert health(gateway).ejections == 2


SETTINGS: dict[str, Json] = {
    "before the head": {},
    "held": {"fallback": {"enabled": True, "hold": {"max_time": "5s"}}},
    "before the first token": {"timeouts": {"first_token": "5s"}},
    "translated": {"open_responses_mode": "translate"},
}


@pytest.mark.either_door
@pytest.mark.parametrize("leave", [Client.fin, Client.rst], ids=["FIN", "RST"])
@pytest.mark.parametrize("phase", SETTINGS)
async def test_after_a_disconnect_the_next_request_probes(lane: bool, leave: object, phase: str) -> None:
    """A probe without a result decides nothing."""
    patient = Patient()
    async with ejected(lane, patient, target=SETTINGS[phase]) as (origins, gateway):
        if phase != "before the head":
            patient.reply = STREAM_HEAD + chunk(b": nothing yet\n\n")
            patient.go.set()
        async with connect(gateway.port) as client:
            await client.send(create(stream=True) if phase == "translated" else post())
            await origins[0].seen(3)
            for _ in range(20):  # what was sent on the loopback is there; so many turns, and it was taken
                await asyncio.sleep(0)
            assert health(gateway).state is HealthState.PROBATION
            assert callable(leave)
            leave(client)
            await until(lambda: gateway.application.proxy.in_flight == 0)
        assert (health(gateway).state, health(gateway).ejections) == (HealthState.EJECTED, 1)
        patient.reply = answer(b'{"by":"first"}')
        patient.go.set()
        assert (await ask(gateway.port, post())).body == b'{"by":"first"}'
        assert health(gateway).state is HealthState.HEALTHY


async def test_after_an_untranslatable_probe_the_next_request_probes(lane: bool) -> None:
    """A request that cannot be translated goes to the other provider."""
    patient = Patient()
    patient.go.set()
    async with ejected(lane, patient, own={"open_responses_mode": "translate"}) as (origins, gateway):
        response = await ask(gateway.port, create(previous_response_id="resp_1"))
        assert response.body == b'{"ok":true}'
        assert health(gateway).state is HealthState.EJECTED
        assert (await ask(gateway.port, post())).body == b'{"by":"first"}'
    assert len(origins[0].requests) == 3


async def test_a_reload_does_not_end_an_ejection(lane: bool) -> None:
    """The state is kept for each provider."""
    patient = Patient()
    async with origin(patient) as first, origin() as second:

        def file(base: str, **options: object) -> Json:
            providers = [{"url": first.url}, {"url": second.url}]
            ejection = {**BRIEF, "base_time": base}
            return {"m": {"strategy": "priority", "ejection": ejection, "providers": providers, **options}}

        async with running(snapshot(file("60s")), lane=lane) as gateway:
            for _ in range(2):
                await ask(gateway.port, post())
            patient.well = True
            gateway.application.holder.replace(snapshot(file("60s", max_body="1MiB")))
            assert (await ask(gateway.port, post())).body == b'{"ok":true}'
    assert len(first.requests) == 2


async def test_of_two_ejected_providers_the_first_due_is_tried(lane: bool) -> None:
    """A pool never becomes empty, and the first provider that works again is found at once."""
    one, two = Patient(), Patient()
    async with origin(one) as first, origin(two) as second:
        providers = [{"url": upstream.url} for upstream in (first, second)]
        ejection = {"consecutive_failures": 1, "base_time": "60s"}
        target = {"strategy": "priority", "ejection": ejection, "providers": providers}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            assert [(await ask(gateway.port, post())).status for _ in range(3)] == [500] * 3
            assert (len(first.requests), len(second.requests)) == (2, 1)
            one.well = True
            one.go.set()
            assert (await ask(gateway.port, post())).body == b'{"by":"first"}'
