"""A target that leads on: a scripted classifier, and the targets it chooses from."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from support.gateway import Gateway, running
from support.origin import Origin, Peer, Script, answer, origin, refused_port, serve
from support.raw import Response, ask, get, post
from support.targets import snapshot


def said(label: str) -> bytes:
    """The classifier's whole answer: a label, with a little space around it as language models leave it."""
    return answer(json.dumps({"choices": [{"message": {"role": "assistant", "content": f" {label}\n"}}]}).encode())


async def says_what_it_is_told(peer: Peer) -> None:
    """A classifier whose label is the last word of the question."""
    while True:
        question = json.loads((await peer.request()).body)
        await peer.send(said(question["messages"][-1]["content"].split()[-1]))


def chat(text: object, **members: object) -> bytes:
    """A chat for ``auto`` whose last user message is ``text``; spaced as nobody would write it again."""
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": text}]
    return json.dumps({"messages": messages, "model": "auto", **members}, indent=3).encode()


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where the ways part. ``which`` classifies; ``big`` and ``small`` answer."""

    gateway: Gateway
    which: Origin
    big: Origin
    small: Origin

    def line(self, target: str) -> Mapping[str, object]:
        """The access-log line of the only exchange that ``target`` answered."""
        (only,) = [line for line in self.gateway.lines() if line["target"] == target]
        return only

    async def led(self, target: str, reason: str) -> float:
        """How many exchanges were led from ``auto`` to ``target`` for this reason, by the metrics."""
        page = (await ask(self.gateway.admin_port, get(b"/metrics"))).body.decode()
        name = f'onwards_route_by_total{{reason="{reason}",target="auto",to="{target}"}} '
        return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))


@asynccontextmanager
async def crossing(
    lane: bool,
    which: Script = says_what_it_is_told,
    *,
    big: Script | None = None,
    small: Script | None = None,
    options: Mapping[str, Mapping[str, object]] | None = None,
    patience: str = "10s",
    **top: object,
) -> AsyncIterator[Crossing]:
    """A gateway with the targets ``auto``, ``which``, ``big`` (the default) and ``small``; ``options`` are further
    keys by target."""
    async with (
        origin(which) as classifier,
        origin(big or serve(answer(b"by big"))) as large,
        origin(small or serve(answer(b"by small"))) as little,
    ):
        rule = {
            "classifier": "which",
            "labels": {"hard": "big", "easy": "small"},
            "default": "big",
            "timeout": patience,
        }
        targets: dict[str, dict[str, object]] = {
            "auto": {"route_by": rule},
            "which": {"url": classifier.url},
            "big": {"url": large.url},
            "small": {"url": little.url},
        }
        for name, more in (options or {}).items():
            targets[name] |= more
        async with running(snapshot(targets, **top), lane=lane) as gateway:
            yield Crossing(gateway, classifier, large, little)


async def put(scene: Crossing, body: bytes, fields: bytes = b"", target: bytes = b"/v1/chat/completions") -> Response:
    """The whole answer to this body on a connection of its own."""
    return await ask(scene.gateway.port, post(body, target, fields))


def first_gone(url: str) -> Mapping[str, object]:
    """A pool in the place of a target's url: its first provider refuses connections, the second is at ``url``."""
    providers = [{"url": f"http://127.0.0.1:{refused_port()}"}, {"url": url}]
    return {"url": None, "strategy": "priority", "fallback": {"enabled": True}, "providers": providers}
