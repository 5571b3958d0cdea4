"""What of an API is served where a provider has only the other one: which paths, and by which methods.

Paths below one that is served are not found: nothing is stored here that could be read, cancelled or deleted later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.model.provider import Mode, Provider
from onwards_py.routing.table import LivePool

RESPONSES = b"/responses"
INPUT_TOKENS = b"/responses/input_tokens"
CHAT = b"/chat/completions"

_ONLY_RESPONSES = "Of the Responses API, only creating a response is served for this model."
_ONLY_CHAT = "Of the Chat Completions API, only creating a completion is served for this model."


def below(path: bytes, collection: bytes) -> bytes | None:
    """What of ``path`` (with or without a query) follows ``collection``, without a last slash; None: it is another."""
    path = path.partition(b"?")[0].rstrip(b"/")
    if path.endswith(collection) and path.find(collection + b"/") < 0:
        return b""
    _, found, rest = path.partition(collection + b"/")
    return b"/" + rest if found else None


def path_refusal(provider: Provider, path: bytes, method: bytes) -> ProxyError | None:
    """Why ``provider`` cannot be asked at ``path`` by ``method``: 404, or 405 with the method that would do."""
    if provider.mode is not Mode.NATIVE:
        rest = below(path, RESPONSES)
        if rest is not None:
            if provider.mode is Mode.DISABLED:
                return ProxyError(ErrorKind.NOT_FOUND)
            return _verdict(rest in (b"", b"/input_tokens"), method, _ONLY_RESPONSES)
    if provider.chat_over_responses:
        rest = below(path, CHAT)
        if rest is not None:
            return _verdict(rest == b"", method, _ONLY_CHAT)
    return None


def refusal_without_model(targets: Iterable[LivePool], path: bytes, method: bytes) -> ProxyError | None:
    """Why none of ``targets`` could be asked there, whichever the request had named; None: one could, or none is."""
    refusal = None
    for target in targets:
        for provider in _providers(target):
            refusal = path_refusal(provider, path, method)
            if refusal is None:
                return None
    return refusal


def _verdict(served: bool, method: bytes, message: str) -> ProxyError | None:
    if not served:
        return ProxyError(ErrorKind.NOT_FOUND, message)
    return None if method == b"POST" else ProxyError(ErrorKind.METHOD_NOT_ALLOWED, allow="POST")


def _providers(target: LivePool) -> Iterator[Provider]:
    if target.classifier_route is not None:
        for led in (*target.classifier_route.labels.values(), target.classifier_route.default):
            yield from _providers(led)
    for member in target.endpoints:
        yield member.provider
