"""Probation: when a provider's time out is over, one request tries it, and what becomes of that one decides."""

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
    """A provider that fails until it is ``well``; from then on its answers wait for ``go``."""

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
    """Two providers, of which the first was ejected and is due; with settings of the first and of the target."""
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
    """Wait until the first provider, which is out, may be tried again."""
    assert health(gateway).state is HealthState.EJECTED
    await until(lambda: time.monotonic() >= health(gateway).excluded_until)


async def test_one_request_tries_it_and_others_do_not(lane: bool) -> None:
    """While that one is under way, all others go elsewhere; when it was answered, the provider is in again."""
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
    """One that refuses what the client did wrong shows that it is alive."""
    patient = Patient()
    patient.reply = answer(b"{}", status)
    patient.go.set()
    async with ejected(lane, patient) as (_, gateway):
        assert (await ask(gateway.port, post())).status == int(status[:3])
        assert health(gateway).state is HealthState.HEALTHY


async def test_a_probe_that_fails_puts_it_out_for_longer(lane: bool) -> None:
    """At once, without the failures in a row that it takes otherwise."""
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


async def test_a_failed_probe_costs_no_client_its_answer(lane: bool) -> None:
    """With fallback the next provider answers it."""
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
async def test_a_probe_whose_client_leaves_gives_its_place_back(lane: bool, leave: object, phase: str) -> None:
    """Nothing was learnt from it: the next request tries."""
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


async def test_a_probe_that_cannot_be_asked_gives_its_place_back(lane: bool) -> None:
    """What the translator refuses goes to the other provider; the next request tries."""
    patient = Patient()
    patient.go.set()
    async with ejected(lane, patient, own={"open_responses_mode": "translate"}) as (origins, gateway):
        response = await ask(gateway.port, create(previous_response_id="resp_1"))
        assert response.body == b'{"ok":true}'
        assert health(gateway).state is HealthState.EJECTED
        assert (await ask(gateway.port, post())).body == b'{"by":"first"}'
    assert len(origins[0].requests) == 3


async def test_a_reload_does_not_forget_who_is_out(lane: bool) -> None:
    """State is kept by provider."""
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


async def test_of_two_that_are_out_the_one_that_is_due_first_is_asked(lane: bool) -> None:
    """The pool is never empty; and the first that is well again is found at once."""
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
