"""URLs of providers and proxies, parsed strictly: ambiguous input is rejected, not repaired.

Library parsers drop tabs and line ends, fold dot segments and re-encode; here a URL is kept as it was written.
Messages never repeat it: it may hold a password.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import ClassVar, Self
from urllib.parse import quote

from onwards_py.config.scalars import JSON, Text

_URL = re.compile(r"(?i:(https?))://([^/?#\\]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?)(?::([0-9]{1,5}))?")
# pchar of RFC 3986 section 3.3, and the slash.
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_DOT_SEGMENT = re.compile(r"(?i)(?:^|/)(?:\.|%2e){1,2}(?:/|$)")


class Url(Text):
    """A provider's base URL. ``path`` is percent-encoded as written, without a trailing slash."""

    schema: ClassVar[JSON] = {"type": "string", "pattern": r"^[hH][tT][tT][pP][sS]?://[^/?#@\s]+(?:/[^?#\s]*)?$"}

    __slots__ = ("host", "path", "port", "tls")

    def __init__(self, tls: bool, host: str, port: int, path: str) -> None:
        self.tls = tls
        self.host = host
        self.port = port
        self.path = path

    @property
    def authority(self) -> str:
        """Host, with the port unless it is the scheme's default; an IPv6 address is in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        """The normalised URL."""
        return f"http{'s' if self.tls else ''}://{self.authority}{self.path}"

    @classmethod
    def parse(cls, text: str) -> Self:
        match = _URL.fullmatch(text)
        if match is None:
            raise ValueError("must begin with http:// or https://")
        scheme, authority, path, query, fragment = match.groups()
        if "@" in authority:
            raise ValueError("must not hold a user name or password; give the credential as onwards_key")
        if query:
            raise ValueError("must not have a query; give its parameters as 'query', {name: value}")
        if fragment:
            raise ValueError("must not have a fragment, which is never sent")
        tls = scheme.lower() == "https"
        host, port = _split(authority, 443 if tls else 80)
        return cls(tls, host, port, _checked_path(path))


class ProxyUrl(Text):
    """An HTTP proxy to tunnel through, as ``http://[user:password@]host[:port]``; ``url`` None: a direct connection."""

    schema: ClassVar[JSON] = {"type": "string", "pattern": r"^(?:[hH][tT][tT][pP]://)?[^/?#\s]+/?$"}

    __slots__ = ("url",)

    def __init__(self, url: str | None) -> None:
        self.url = url

    @classmethod
    def parse(cls, text: str) -> Self:
        if text == "direct":
            return cls(None)
        match = _URL.fullmatch(text if "://" in text else f"http://{text}")
        if match is None or match[1].lower() != "http":
            raise ValueError("expected 'direct' or the URL of an HTTP proxy, http://host:port")
        if match[3] not in ("", "/") or match[4] or match[5]:
            raise ValueError("a proxy's URL has no path, query or fragment")
        credential, at, authority = match[2].rpartition("@")
        host, port = _split(authority, 3128)
        host = f"[{host}]" if ":" in host else host
        # Characters that are invalid in URLs are encoded, so that the password is sent as written.
        return cls(f"http://{quote(credential, safe='%:!$&()*+,;=~')}{at}{host}:{port}")


def _split(authority: str, default_port: int) -> tuple[str, int]:
    if not authority:
        raise ValueError("has no host")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        hint = "" if authority.isascii() else "; write an international name in its xn-- form"
        raise ValueError(f"has an invalid host or port{hint}")
    host = match[1].lower()
    if host.startswith("["):
        host = host[1:-1]
        try:
            IPv6Address(host)
        except ValueError:
            raise ValueError("has an invalid IPv6 address") from None
    port = int(match[2]) if match[2] else default_port
    if not 1 <= port <= 65535:
        raise ValueError("has a port outside 1..65535")
    return host, port


def _checked_path(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise ValueError("has a character in its path that must be percent-encoded")
    if _DOT_SEGMENT.search(path):
        raise ValueError("must not have '.' or '..' segments in its path")
    path = path.removesuffix("/")
    if "//" in path or path.endswith("/"):
        raise ValueError("must not have empty segments in its path")
    return path
