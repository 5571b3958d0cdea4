"""The proxy does not disclose the keys of clients or providers: not in responses, logs, metrics or status, and not
when limits refuse, providers fail, or requests are rejected."""

from __future__ import annotations

import logging
from hashlib import sha256

import pytest
from support.gateway import running
from support.origin import STREAM_HEAD, Peer, Script, answer, chunk, once, origin, refused_port, serve, silent
from support.raw import Response, ask, get, post
from support.responses_promises import Json
from support.targets import snapshot

CLIENTS = ["sk-client-secret-1", "sk-client-secret-2", "sk-admin-secret-3"]
WRONG = "sk-wrong-secret-4"
PROVIDERS = "sk-provider-secret-5"
ECHOED = answer(b'{"error":{"message":"no"}}', b"401 X", b"Retry-After: 3600\r\n")


async def cut(peer: Peer) -> None:
    """A stream that is cut."""
    await peer.request()
    await peer.send(STREAM_HEAD, chunk(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'))


FIRSTS: dict[str, Script] = {
    "refuses our credential": serve(ECHOED),
    "is busy": serve(answer(b"busy", b"429 Slow", b"Retry-After: 1\r\n")),
    "fails": serve(answer(b"no", b"500 Oops")),
    "answers nothing": once(b""),
    "answers garbage": once(b"garbage\r\n\r\n"),
    "is silent": silent,
    "cuts": cut,
    "errs inside a 200": serve(answer(b'{"error":{"code":500}}', fields=b"Content-Type: application/json\r\n")),
}


@pytest.mark.either_door
@pytest.mark.parametrize("mode", ["native", "translate"])
@pytest.mark.parametrize("case", FIRSTS)
async def test_secrets_are_not_disclosed(lane: bool, mode: str, case: str, caplog: pytest.LogCaptureFixture) -> None:
    """This holds for every outcome of a request, with an accepted key, with a wrong one, and without a key."""
    caplog.set_level(logging.DEBUG)
    definitions = {
        "one": {
            "key": CLIENTS[0],
            "labels": {"tier": "free"},
            "rate_limit": {"requests_per_minute": 1, "burst_size": 6},
            "on_limit": "queue",
            "queue": {"timeout": "20ms"},
        },
        "two": {
            "key_sha256": sha256(CLIENTS[1].encode()).hexdigest(),
            "token_limit": {"tokens_per_minute": 1, "burst_size": 30},
        },
    }
    async with origin(FIRSTS[case]) as first:
        quick = {"timeouts": {"first_byte": "20ms", "first_token": "20ms"}, "open_responses_mode": mode}
        providers = [
            {"url": first.url, "onwards_key": PROVIDERS, "name": "first", **quick},
            {"url": f"http://127.0.0.1:{refused_port()}", "onwards_key": PROVIDERS, "name": "second", **quick},
        ]
        target: Json = {
            "keys": ["one", "two"],
            "strategy": "priority",
            "providers": providers,
            "fallback": {"enabled": True, "on_status": [401, 5], "hold": {"max_time": "1s"}, "max_retry_after_ms": 0},
            "ejection": {"consecutive_failures": 2, "auth_failures": 2},
            "affinity": {"session": ["authorization"]},
            "hedge": {"after": "10ms"},
        }
        auth = {"key_definitions": definitions, "global_keys": [CLIENTS[2]]}
        async with running(snapshot({"m": target}, auth=auth), lane=lane) as gateway:
            said: list[Response] = []
            for token in (*CLIENTS, WRONG, ""):
                fields = b"Authorization: Bearer %b\r\n" % token.encode() if token else b""
                for path in (b"/v1/chat/completions", b"/v1/responses"):
                    for _ in range(4):
                        request = post(b'{"model":"m","input":"hi","store":false,"stream":true}', path, fields)
                        said.append(await ask(gateway.port, request))
            assert {response.status for response in said} >= {401, 403, 429}
            said += [await ask(gateway.admin_port, get(path)) for path in (b"/metrics", b"/status", b"/healthz")]
    told = b"".join(response.head + response.body for response in said)
    told += gateway.log.getvalue() + caplog.text.encode()
    for secret in (*CLIENTS, WRONG, PROVIDERS):
        assert secret.encode() not in told
        assert secret[3:].encode() not in told
