"""The API of a request follows from its path."""

from __future__ import annotations

import pytest

from onwards_py.wire.api import Api, api_of, path_below


@pytest.mark.parametrize(
    ("path", "api", "below"),
    [
        (b"/v1/chat/completions", Api.CHAT_COMPLETIONS, b""),
        (b"/chat/completions/?x=/responses", Api.CHAT_COMPLETIONS, b""),
        (b"/v1/chat/completions/id/messages", Api.CHAT_COMPLETIONS, b"/id/messages"),
        (b"/v1/responses", Api.RESPONSES, b""),
        (b"/v1/responses/", Api.RESPONSES, b""),
        (b"/openai/v1/responses?api-version=1", Api.RESPONSES, b""),
        (b"/v1/responses/input_tokens", Api.RESPONSES, b"/input_tokens"),
        (b"/v1/responses/resp_1/cancel", Api.RESPONSES, b"/resp_1/cancel"),
        (b"/v1/messages", Api.MESSAGES, b""),
        (b"/v1/messages/count_tokens", Api.MESSAGES, b"/count_tokens"),
        (b"/v1/threads/t/messages", None, None),
        (b"/v1/embeddings", None, None),
        (b"/v1/responses_of_mine", None, None),
        (b"/v1/completions", None, None),
        (b"/?path=/v1/responses", None, None),
    ],
)
def test_a_path_is_in_one_api_at_most(path: bytes, api: Api | None, below: bytes | None) -> None:
    """A path is a collection or below one, whatever base URL precedes it. The query does not count."""
    assert api_of(path) is api
    if api is not None:
        assert path_below(path, api) == below
