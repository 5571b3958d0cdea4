"""The API of a request, by its path."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Api(Enum):
    """An API with a generation endpoint of its own. The values are its names in configuration files."""

    CHAT_COMPLETIONS = "chat_completions"
    RESPONSES = "responses"
    MESSAGES = "messages"


COLLECTIONS: Final = {
    Api.RESPONSES: b"/responses",
    Api.CHAT_COMPLETIONS: b"/chat/completions",
    Api.MESSAGES: b"/messages",
}
"""The path of each API behind the base URL."""
TITLES: Final = {
    Api.RESPONSES: "Responses API",
    Api.CHAT_COMPLETIONS: "Chat Completions API",
    Api.MESSAGES: "Messages API",
}


def api_of(path: bytes) -> Api | None:
    """The API that ``path`` (with or without a query) belongs to, at its collection or below; None: another one.

    The messages of a thread belong to the Assistants API.
    """
    for api, collection in COLLECTIONS.items():
        if collection in path and path_below(path, api) is not None:
            return None if api is Api.MESSAGES and b"/threads/" in path else api
    return None


def path_below(path: bytes, api: Api) -> bytes | None:
    """The rest of ``path`` after the collection of ``api``, without query and trailing slash; None: not below it."""
    collection = COLLECTIONS[api]
    path = path.partition(b"?")[0].rstrip(b"/")
    if path.endswith(collection) and path.find(collection + b"/") < 0:
        return b""
    _, found, rest = path.partition(collection + b"/")
    return b"/" + rest if found else None
