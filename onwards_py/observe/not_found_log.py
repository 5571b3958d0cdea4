"""A warning about the first 404 or 405 of a provider: most likely its configured URL is wrong."""

from __future__ import annotations

import logging
from typing import Final

from onwards_py.model.provider import Provider
from onwards_py.routing.explain import effective_url

_log = logging.getLogger("onwards.proxy")
_LONGEST: Final = 300  # characters of a URL


class NotFoundLog:
    """One per process. Its memory is bounded, because identities come from the configuration."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def note(self, provider: Provider, status: int, target: bytes) -> None:
        """``provider`` answered a request for ``target``, a path before it is joined, with ``status``. Queries are not
        logged, because they may hold secrets."""
        if status not in (404, 405) or provider.origin is None or provider.identity in self._warned:
            return
        self._warned.add(provider.identity)
        url, query, _ = effective_url(provider, target).partition("?")
        if len(url) > _LONGEST:
            url = url[:_LONGEST] + "..."
        _log.warning("provider %s answered %d to %s%s: if that is not its URL, compare 'onwards-py check --urls' with "
                     "its documentation (logged once until the configuration changes)",
                     provider.name, status, url, "?..." if query else "")  # fmt: skip

    def forget(self) -> None:
        """Forget all providers, because the configuration has changed."""
        self._warned.clear()
