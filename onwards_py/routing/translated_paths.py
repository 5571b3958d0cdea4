"""The paths and methods of an API that are served by translation to another API.

Paths below a served one get 404: the proxy stores no responses that could be read, cancelled or deleted later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.model.provider import Provider
from onwards_py.routing.table import LivePool
from onwards_py.wire.api import TITLES, Api, api_of, path_below

_SERVED: Final = {
    Api.RESPONSES: (frozenset({b"", b"/input_tokens"}), "creating a response"),
    Api.CHAT_COMPLETIONS: (frozenset({b""}), "creating a completion"),
}
"""For each API, the served paths below its collection, and their name in errors."""


def not_served(api: Api) -> ProxyError:
    """The error for an API that a provider does not implement and that is not translated."""
    return ProxyError(ErrorKind.NOT_FOUND, f"The {TITLES[api]} is not served for this model.")


def path_refusal(provider: Provider, path: bytes, method: bytes) -> ProxyError | None:
    """The error if ``provider`` does not serve ``method`` at ``path``: 404, or 405 with the method that is served."""
    api = api_of(path)
    upstream = None if api is None else provider.apis.upstream(api)
    if api is None or upstream is api:
        return None
    if upstream is None:
        return not_served(api)
    paths, served = _SERVED[api]
    if path_below(path, api) not in paths:
        return ProxyError(ErrorKind.NOT_FOUND, f"Of the {TITLES[api]}, only {served} is served for this model.")
    return None if method == b"POST" else ProxyError(ErrorKind.METHOD_NOT_ALLOWED, allow="POST")


def refusal_without_model(targets: Iterable[LivePool], path: bytes, method: bytes) -> ProxyError | None:
    """The error if no provider of ``targets`` serves ``method`` at ``path``; None if one does, or without providers."""
    refusal = None
    for target in targets:
        for provider in _providers(target):
            refusal = path_refusal(provider, path, method)
            if refusal is None:
                return None
    return refusal


def _providers(target: LivePool) -> Iterator[Provider]:
    if target.classifier_route is not None:
        for led in (*target.classifier_route.labels.values(), target.classifier_route.default):
            yield from _providers(led)
    for endpoint in target.endpoints:
        yield endpoint.provider
