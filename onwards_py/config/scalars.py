"""Text with a format: each class parses it, and describes it in JSON Schema.

``parse`` raises ValueError with a message that never repeats the text: it may be a secret or hold one.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import ClassVar, Self

from onwards_py.errors import ProxyError
from onwards_py.sealing import SHORTEST_SECRET
from onwards_py.wire.target_url import join

JSON = dict[str, object]
"""A piece of JSON Schema."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_FIELD_VALUE = re.compile(r"[\x20-\x7e\t]*")
_CLIENT_KEY = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?")
_ERROR_CODE = re.compile(r"\S{1,100}")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_REQUEST_PATH = re.compile(r"/[\x21-\x22\x24-\x7e]*")  # no '#': a fragment is not sent
_NAME_PATTERN = "[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?"
_HOST_PATTERN = re.compile(rf"\*|(?:\*\.)?{_NAME_PATTERN}|\[[0-9A-Fa-f:.]+\]")
_ADDRESS_PATTERN = r"\[?[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]?"
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)?")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([kKMGT]i?B|B)?")
_STATUS = re.compile(r"([1-5])(?:([0-9])([0-9]|[xX])?|([xX])[xX])?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_MAX_SECONDS = 366 * 86400
_BYTES = {"k": 1, "m": 2, "g": 3, "t": 4}

# Framing and hop-by-hop fields: setting them would break messages.
_NOT_TO_BE_SET = frozenset(
    [
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)


class Text:
    """Base class. ``schema``: what is accepted besides ``${…}`` references."""

    schema: ClassVar[JSON] = {"type": "string"}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text. Raises ValueError."""
        raise NotImplementedError


class Duration(float, Text):
    """Seconds, zero or more."""

    schema: ClassVar[JSON] = {
        "anyOf": [
            {"type": "number", "minimum": 0, "maximum": _MAX_SECONDS},
            {"type": "string", "pattern": f"^{_DURATION.pattern}$"},
        ]
    }

    @classmethod
    def parse(cls, text: str) -> Self:
        match = _DURATION.fullmatch(text)
        if match is None:
            raise ValueError("expected a duration such as 30s, 500ms, 2m, or a number of seconds")
        seconds = float(match[1]) * _SECONDS[match[2] or "s"]
        if seconds > _MAX_SECONDS:
            raise ValueError("a duration must not be longer than a year")
        return cls(seconds)


class Timeout(Duration):
    """Seconds, more than zero."""

    schema: ClassVar[JSON] = {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0, "maximum": _MAX_SECONDS},
            {"type": "string", "pattern": f"^{_DURATION.pattern}$"},
        ]
    }

    @classmethod
    def parse(cls, text: str) -> Self:
        seconds = super().parse(text)
        if not seconds:
            raise ValueError("must be longer than zero")
        return seconds


class Size(int, Text):
    """Bytes, one or more."""

    schema: ClassVar[JSON] = {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "pattern": f"^{_SIZE.pattern}$"},
        ]
    }

    @classmethod
    def parse(cls, text: str) -> Self:
        match = _SIZE.fullmatch(text)
        if match is None:
            raise ValueError("expected a size such as 64MiB, 10MB, or a number of bytes")
        unit = match[2] or "B"
        base = 1024 if "i" in unit else 1000
        size = int(float(match[1]) * base ** _BYTES.get(unit[0].lower(), 0)) if unit != "B" else int(float(match[1]))
        if size < 1:
            raise ValueError("must be at least one byte")
        return cls(size)


class StatusPattern(frozenset[int], Text):
    """Statuses: ``5`` and ``5xx`` are 500-599, ``50`` and ``50x`` are 500-509, ``503`` is itself."""

    schema: ClassVar[JSON] = {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": 5},
            {"type": "integer", "minimum": 10, "maximum": 59},
            {"type": "integer", "minimum": 100, "maximum": 599},
            {"type": "string", "pattern": f"^{_STATUS.pattern}$"},
        ]
    }

    @classmethod
    def parse(cls, text: str) -> Self:
        if not _STATUS.fullmatch(text):
            raise ValueError("expected a status such as 503, or a pattern: 5 or 5xx, 50 or 50x")
        digits = text.rstrip("xX")
        width = 10 ** (3 - len(digits))
        first = int(digits) * width
        return cls(range(first, first + width))


class ErrorCode(str, Text):
    """The ``code`` of an API error."""

    schema: ClassVar[JSON] = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": f"^{_ERROR_CODE.pattern}$"}]}

    @classmethod
    def parse(cls, text: str) -> Self:
        if not _ERROR_CODE.fullmatch(text):
            raise ValueError("is not the code of an error: 1 to 100 characters without spaces")
        return cls(text)


class HeaderName(str, Text):
    """A field name (RFC 9110 section 5.1) that an operator may set."""

    schema: ClassVar[JSON] = {"type": "string", "pattern": f"^{_TOKEN.pattern}$"}

    @classmethod
    def parse(cls, text: str) -> Self:
        if not _TOKEN.fullmatch(text):
            raise ValueError("is not a header name: only letters, digits and !#$%&'*+-.^_`|~")
        if text.lower() in _NOT_TO_BE_SET:
            raise ValueError("this header belongs to the connection and cannot be set")
        return cls(text)


class HeaderValue(str, Text):
    """A field value of visible ASCII, spaces and tabs."""

    @classmethod
    def parse(cls, text: str) -> Self:
        if not _FIELD_VALUE.fullmatch(text):
            raise ValueError("is not allowed in a header: only visible ASCII characters, spaces and tabs")
        return cls(text)


class ProviderKey(Text):
    """A credential for a provider. ``value`` is not in the repr."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(HeaderValue.parse(text))


class ClientKey(Text):
    """A token of a client. ``value`` is not in the repr."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    @classmethod
    def parse(cls, text: str) -> Self:
        if not _CLIENT_KEY.fullmatch(text):
            raise ValueError("no client could present this key: only visible ASCII characters, no space at its ends")
        return cls(text)


class KeyDigest(Text):
    """The SHA-256 digest of a client's token. ``value``: its 32 bytes."""

    __slots__ = ("value",)
    schema: ClassVar[JSON] = {"type": "string", "pattern": f"^{_DIGEST.pattern}$"}

    def __init__(self, value: bytes) -> None:
        self.value = value

    @classmethod
    def parse(cls, text: str) -> Self:
        if not _DIGEST.fullmatch(text):
            raise ValueError("expected a SHA-256 digest: 64 hexadecimal digits")
        return cls(bytes.fromhex(text))


class HostPattern(str, Text):
    """A host name without a port, ``*.example.com`` for all subdomains, or ``*``. In lower case."""

    schema: ClassVar[JSON] = {"type": "string", "pattern": f"^{_HOST_PATTERN.pattern}$"}

    @classmethod
    def parse(cls, text: str) -> Self:
        if not _HOST_PATTERN.fullmatch(text):
            raise ValueError("expected a host name without a port, *.example.com, or *")
        return cls(text.lower().rstrip("."))


class ListenHost(str, Text):
    """An address to listen on: an IP address (IPv6 with or without brackets), or a host name."""

    schema: ClassVar[JSON] = {"type": "string", "pattern": f"^(?:{_NAME_PATTERN}|{_ADDRESS_PATTERN})$"}

    @classmethod
    def parse(cls, text: str) -> Self:
        if re.fullmatch(_NAME_PATTERN, text):
            return cls(text)
        address = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
        try:
            return cls(str(ip_address(address)))
        except ValueError:
            raise ValueError(
                "expected an IP address (0.0.0.0 for all, :: with IPv6) or a host name; no scheme, no port"
            ) from None


class RequestPath(str, Text):
    """A path with an optional query, as in a request line."""

    schema: ClassVar[JSON] = {"type": "string", "pattern": f"^{_REQUEST_PATH.pattern}$"}

    @classmethod
    def parse(cls, text: str) -> Self:
        if not _REQUEST_PATH.fullmatch(text):
            raise ValueError("expected a path that begins with '/', in visible ASCII characters")
        try:
            join(b"", text.encode())
        except ProxyError as error:  # invalid in requests too
            raise ValueError(error.message) from None
        return cls(text)


class ParameterName(str, Text):
    """The decoded name of a query parameter."""

    schema: ClassVar[JSON] = {"type": "string", "minLength": 1}

    @classmethod
    def parse(cls, text: str) -> Self:
        if not text:
            raise ValueError("a query parameter must have a name")
        return cls(text)


class ParameterValue(Text):
    """The decoded value of a query parameter. ``value`` is not in the repr: it is the credential at some providers."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(text)


class SealKey(Text):
    """A secret for sealing reasoning (`onwards_py.sealing`). ``value`` is not in the repr."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    @classmethod
    def parse(cls, text: str) -> Self:
        if len(text.encode()) < SHORTEST_SECRET:
            raise ValueError(f"a secret must have at least {SHORTEST_SECRET} bytes")
        return cls(text)


class JsonObject(Text):
    """A mapping that is passed on as JSON. ``value``: the JSON values."""

    __slots__ = ("value",)
    schema: ClassVar[JSON] = {"type": "object"}

    def __init__(self, value: dict[str, object]) -> None:
        self.value = value


class Opaque(Text):
    """A mapping that is accepted without checks."""

    schema: ClassVar[JSON] = {"type": "object"}
