"""The OpenAI SDK against the running program: failures arrive as the SDK's own classes."""

from __future__ import annotations

import asyncio
import threading

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from support.program import Program, wait_until

SAID: list[ChatCompletionMessageParam] = [{"role": "user", "content": "one two three"}]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_an_error_of_the_provider_is_passed_on(client: OpenAI, status: int, kind: type[openai.APIStatusError]) -> None:
    """Status, body, request id and Retry-After are the provider's."""
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model=f"fail-{status}", messages=SAID)
    error = caught.value
    assert (error.status_code, error.code, error.param, error.type) == (status, "upstream_code", "p", "upstream_type")
    assert error.request_id == "req-upstream-1"
    assert error.response.headers.get("retry-after") == ("7" if status == 429 else None)


@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [
        ("nobody", openai.NotFoundError, "model_not_found"),
        ("busy", openai.RateLimitError, "concurrency_limit_exceeded"),
        ("absent", openai.InternalServerError, "upstream_unreachable"),
        ("late", openai.InternalServerError, "gateway_timeout"),
        ("", openai.BadRequestError, "bad_request"),
    ],
)
def test_an_error_of_ours_has_the_shape_of_the_provider(
    client: OpenAI, model: str, kind: type[openai.APIStatusError], code: str
) -> None:
    """The envelope is the one that the SDK reads."""
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model=model, messages=SAID)
    assert caught.value.code == code
    assert "Error code" in str(caught.value)


def test_a_wrong_key_is_forbidden_and_no_key_is_unauthenticated(program: Program) -> None:
    """403 for a key that is not accepted, 401 for none."""
    stranger = OpenAI(base_url=program.url + "/v1", api_key="sk-wrong", max_retries=0)
    with pytest.raises(openai.PermissionDeniedError):
        stranger.chat.completions.create(model="closed", messages=SAID)
    with pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model="closed", messages=SAID, extra_headers={"Authorization": openai.Omit()})


def test_the_sdk_retries_what_it_would_retry(program: Program) -> None:
    """429 by a limit of ours carries Retry-After, so the SDK waits and asks again."""
    patient = OpenAI(base_url=program.url + "/v1", api_key="sk-right", max_retries=1)
    before = program.stdout.count('"busy"')
    with pytest.raises(openai.RateLimitError) as caught:
        patient.chat.completions.create(model="busy", messages=SAID)
    assert caught.value.response.headers["retry-after"] == "1"
    wait_until(lambda: program.stdout.count('"busy"') == before + 2, "two lines in the access log")


def test_a_stream_that_is_cut_is_an_error(client: OpenAI) -> None:
    """A stream that broke off upstream never looks finished."""
    stream = iter(client.chat.completions.create(model="cut", messages=SAID, stream=True))
    assert next(stream).choices
    with pytest.raises(openai.APIConnectionError):
        list(stream)


def test_a_client_that_loses_patience(client: OpenAI, program: Program) -> None:
    """The SDK's own timeout; the program notices and notes it."""
    before = program.stdout.count("client_gone_waiting")
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.2).chat.completions.create(model="silent", messages=SAID)
    wait_until(lambda: program.stdout.count("client_gone_waiting") == before + 1, "the outcome in the access log")


def test_a_client_that_closes_a_stream_early(client: OpenAI, program: Program, upstream: object) -> None:
    """The upstream is let go as soon as the SDK's stream is closed."""
    left: threading.Event = upstream.left  # type: ignore[attr-defined]
    left.clear()
    with client.chat.completions.create(model="endless", messages=SAID, stream=True) as stream:
        next(iter(stream))
    assert left.wait(10)
    wait_until(lambda: "client_gone_streaming" in program.stdout, "the outcome in the access log")


async def test_an_async_client_that_is_cancelled(program: Program) -> None:
    """Cancelling the task that waits for an answer reaches the upstream's side too."""
    before = program.stdout.count("client_gone_waiting")
    async with AsyncOpenAI(base_url=program.url + "/v1", api_key="sk-right", max_retries=0) as client:
        task = asyncio.create_task(client.chat.completions.create(model="silent", messages=SAID))
        await asyncio.sleep(0)
        done, _ = await asyncio.wait({task}, timeout=0.3)
        assert not done
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.to_thread(
        wait_until, lambda: program.stdout.count("client_gone_waiting") == before + 1, "the outcome in the log"
    )
