"""A warning about the first 404 or 405 of a provider: most likely its URL is not what its configuration meant."""

from __future__ import annotations

import logging
from typing import Final

from onwards_py.model.provider import Provider
from onwards_py.routing.explain import effective_url

_log = logging.getLogger("onwards.proxy")
_LONGEST: Final = 300  # characters of a URL


class NotFoundLog:
    """One of the process. What is remembered is bounded by the configuration, of which identities are."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def note(self, provider: Provider, status: int, target: bytes) -> None:
        """``provider`` answered with ``status`` when it was asked for ``target``, a path before it is joined. Nothing
        of queries is told: they may hold secrets."""
        if status not in (404, 405) or provider.origin is None or provider.identity in self._told:
            return
        self._told.add(provider.identity)
        url, query, _ = effective_url(provider, target).partition("?")
        if len(url) > _LONGEST:
            url = url[:_LONGEST] + "..."
        _log.warning("provider %s answered %d to %s%s: if that is not its URL, compare 'onwards-py check --urls' with "
                     "its documentation (told once until the configuration changes)",
                     provider.name, status, url, "?..." if query else "")  # fmt: skip

    def forget(self) -> None:
        """The configuration has changed."""
        self._told.clear()
