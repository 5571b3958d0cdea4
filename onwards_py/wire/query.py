"""Query parameters that the configuration adds to every request to a provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

# Parameters whose values are not secret. For all other parameters, only the names are shown.
_PUBLIC: Final = frozenset({b"api-version", b"api_version", b"version", b"deployment", b"model"})
_UNRESERVED: Final = "-._~:,/"
_HIDDEN: Final = b"***"


@dataclass(frozen=True, slots=True)
class Query:
    """Parameters for a request target."""

    text: bytes
    """Percent-encoded. It may hold secrets."""
    names: frozenset[bytes]
    """The names of the parameters, decoded and in lower case."""

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Query:
        """``parameters`` are not percent-encoded."""
        parts = [f"{quote(name, _UNRESERVED)}={quote(value, _UNRESERVED)}" for name, value in parameters.items()]
        return cls("&".join(parts).encode("ascii"), frozenset(name.encode().lower() for name in parameters))

    def apply_to(self, target: bytes) -> bytes:
        """``target`` with these parameters after its own. They replace parameters of the same names.

        All other bytes are unchanged.
        Names are compared in lower case, as Azure (ASP.NET) does: ``API-Version`` is ``api-version``.
        """
        path, _, query = target.partition(b"?")
        kept = b"&".join([part for part in query.split(b"&") if _name(part) not in self.names])
        between = b"&" if kept and not kept.endswith(b"&") else b""
        return b"%b?%b%b%b" % (path, kept, between, self.text)


def _name(parameter: bytes) -> bytes:
    return unquote_to_bytes(parameter.partition(b"=")[0].replace(b"+", b" ")).lower()


def masked(target: bytes) -> bytes:
    """``target`` for logs: values in its query are hidden, except those of public parameters."""
    path, mark, query = target.partition(b"?")
    return path + mark + b"&".join(map(_masked_parameter, query.split(b"&")))


def _masked_parameter(parameter: bytes) -> bytes:
    name, equals, value = parameter.partition(b"=")
    return name + equals + (value if not value or _name(parameter) in _PUBLIC else _HIDDEN)
