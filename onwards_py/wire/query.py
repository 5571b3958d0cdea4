"""Query parameters that an operator sets on every request to a provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

# Names whose values anybody may see; of all other parameters only the name is shown.
_PUBLIC: Final = frozenset({b"api-version", b"api_version", b"version", b"deployment", b"model"})
_UNRESERVED: Final = "-._~:,/"
_HIDDEN: Final = b"***"


@dataclass(frozen=True, slots=True)
class Query:
    """``text`` is percent-encoded, as it stands in a request target, and may hold secrets. ``names`` are those of its
    parameters, decoded and in lower case."""

    text: bytes
    names: frozenset[bytes]

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Query:
        """Of plain text, which is encoded here."""
        parts = [f"{quote(name, _UNRESERVED)}={quote(value, _UNRESERVED)}" for name, value in parameters.items()]
        return cls("&".join(parts).encode("ascii"), frozenset(name.encode().lower() for name in parameters))

    def apply_to(self, target: bytes) -> bytes:
        """``target`` with these parameters behind its own, of which those with the same names are left out. No other
        byte changes.

        Names are compared without regard to case, as Azure (ASP.NET) does: ``API-Version`` is ``api-version``.
        """
        path, _, query = target.partition(b"?")
        kept = b"&".join([part for part in query.split(b"&") if _name(part) not in self.names])
        between = b"&" if kept and not kept.endswith(b"&") else b""
        return b"%b?%b%b%b" % (path, kept, between, self.text)


def _name(parameter: bytes) -> bytes:
    return unquote_to_bytes(parameter.partition(b"=")[0].replace(b"+", b" ")).lower()


def masked(target: bytes) -> bytes:
    """``target`` for people to see: values in its query are hidden, unless the name says that they are no secret."""
    path, mark, query = target.partition(b"?")
    return path + mark + b"&".join(map(_masked_parameter, query.split(b"&")))


def _masked_parameter(parameter: bytes) -> bytes:
    name, equals, value = parameter.partition(b"=")
    return name + equals + (value if not value or _name(parameter) in _PUBLIC else _HIDDEN)
