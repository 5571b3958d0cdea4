"""The number of metric series is bounded: labels come from the configuration, never from a request."""

from __future__ import annotations

import re

from support.gateway import Gateway, running
from support.origin import answer, origin, serve
from support.raw import ask, get, post
from support.targets import snapshot

_SERIES = re.compile(rb"^(onwards_[^ ]+) ", re.MULTILINE)


async def series(gateway: Gateway) -> set[bytes]:
    """The names, with labels, of all series of the proxy."""
    response = await ask(gateway.admin_port, get(b"/metrics"))
    assert response.status == 200
    return set(_SERIES.findall(response.body))


async def value(gateway: Gateway, name: bytes) -> float:
    response = await ask(gateway.admin_port, get(b"/metrics"))
    (line,) = [line for line in response.body.splitlines() if line.startswith(name + b" ")]
    return float(line.split()[-1])


async def test_unknown_models_and_odd_paths_add_no_series(lane: bool) -> None:
    """Sixty requests use names, paths, methods and keys that are not configured. The set of series does not change."""
    async with origin() as upstream:
        targets = {"m": {"url": upstream.url}, "closed": {"url": upstream.url, "keys": ["sk-a"]}}
        async with running(snapshot(targets), lane=lane) as gateway:
            await ask(gateway.port, post())
            await ask(gateway.port, post(b'{"model":"closed"}'))
            await ask(gateway.port, post(b'{"model":"nothing"}'))
            before = await series(gateway)
            for number in range(20):
                name = b"made-up-%d" % number
                await ask(gateway.port, post(b'{"model":"%b"}' % name, b"/%b" % name))
                await ask(gateway.port, post(target=b"/v1/%b/../%b" % (name, name)))
                await ask(
                    gateway.port, post(fields=b"Model-Override: %b\r\nAuthorization: Bearer %b\r\n" % (name, name))
                )
                await ask(gateway.port, post(target=b"/v1/%b" % name))
                await ask(gateway.port, get(b"/v1/models/%b" % name))
            after = await series(gateway)
    assert {line.partition(b"{")[0] for line in after} == {line.partition(b"{")[0] for line in before}
    assert not [line for line in after if b"made-up" in line]
    assert len(after) - len(before) <= 3  # a status class or outcome that had not occurred yet


async def test_exchanges_are_counted_by_target_and_provider(lane: bool) -> None:
    """The labels are the configured names, the class of the status and the outcome. The in-flight gauges return to
    zero."""
    async with origin(serve(answer(), answer(status=b"503 Busy"))) as upstream:
        targets = snapshot({"m": {"providers": [{"url": upstream.url, "name": "p"}]}})
        async with running(targets, lane=lane) as gateway:
            for _ in range(3):
                await ask(gateway.port, post())
            shape = b'onwards_requests_total{outcome="done",provider="p",status_class="%b",target="m"}'
            assert await value(gateway, shape % b"2xx") == 1
            assert await value(gateway, shape % b"5xx") == 2
            assert await value(gateway, b'onwards_request_duration_seconds_count{provider="p",target="m"}') == 3
            assert await value(gateway, b'onwards_provider_in_flight{provider="p",target="m"}') == 0
            assert await value(gateway, b"onwards_requests_in_flight") == 0
