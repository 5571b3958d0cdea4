"""A request head, read once: its facts, and the field lines that are passed on.

`examine` also refuses what parsers accept and proxies must not: a missing, repeated or invalid Host, any transfer
coding except exactly ``chunked``, two framings at once, repeated singleton fields (RFC 9112 sections 3.2, 6.1 and 6.3;
RFC 9110 section 5.3).
"""

from __future__ import annotations

import re

import msgspec

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import Field, Fields
from onwards_py.wire.field_rules import (
    API_KEY,
    AUTHORIZATION,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    EXPECT,
    HOST,
    MODEL_OVERRIDE,
    REQUEST_FIELD_RULES,
    SUBPROTOCOL,
    TRACE,
    TRANSFER_ENCODING,
    UPGRADE,
    USER_AGENT,
    X_API_KEY,
)
from onwards_py.wire.media_type import JSON, Media, media_of
from onwards_py.wire.target_url import authority

# RFC 3986 section 3.2.2: a reg-name or an IP literal, and a port; never userinfo, a path or a list.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]+)(?::[0-9]*)?")
# Bodies of these types are searched for a model as JSON too.
_READ_AS_JSON = frozenset({Media.JSON, Media.OPAQUE, Media.ABSENT})
_CREDENTIALS = frozenset({AUTHORIZATION, X_API_KEY, API_KEY})
# Browsers can set only this header of a WebSocket handshake, so OpenAI accepts the key as a subprotocol.
_KEY_SUBPROTOCOL = b"openai-insecure-api-key."
_OF_UPGRADES = frozenset({b"upgrade", b"http2-settings"})
_PLAIN_CONNECTION = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})


class RequestHead(msgspec.Struct):
    """Facts of one request head.

    A head that a connection repeats is read once and shared by all its requests.
    So nothing here changes after `examine`, except ``path`` and the caches at the end.
    The ``*_at`` fields are indices into ``parts`` (-1: there is no such field).
    """

    parts: list[bytes]
    """``name, b": ", value, CRLF`` of every end-to-end field, flattened."""
    host_at: int = -1
    """Index of the value of Host."""
    length_at: int = -1
    """Index of the value of Content-Length."""
    encoding_at: int = -1
    """Index of the name of Content-Encoding."""
    credential_at: int = -1
    """Index of an empty part, where the client's credential stood and the provider's goes."""
    trace_at: tuple[int, ...] = ()
    """Indices of the names of trace context fields."""
    content_length: int | None = None
    chunked: bool = False
    expects_continue: bool = False
    upgrade: bytes | None = None
    content_type: bytes = b""
    content_encoding: bytes = b""
    model_override: bytes | None = None
    authorization: bytes | None = None
    api_key: bytes | None = None
    plain: bool = True
    """The body can only be JSON without a content coding."""
    path: bytes = b""
    """The request target in origin form."""
    outbound_heads: dict[int, CachedOutboundHead] = {}
    """Outbound heads by the ``id`` of their provider."""
    resolved_by: object = None
    """The configuration by which ``principal``, ``model`` and ``route`` were found."""
    principal: object = None
    model: str = ""
    route: object = None
    """The route to ``model``."""


class CachedOutboundHead(msgspec.Struct, frozen=True):
    """The outbound head of an attempt with this head, split around its Content-Length value."""

    provider: object
    """The provider, compared by identity, that it is valid for."""
    before: bytes
    after: bytes


def examine(fields: Fields, target: bytes, http_minor: int) -> RequestHead:
    """The facts of a head. Raises ProxyError for a head that a proxy must not pass on."""
    parts: list[bytes] = []
    head = RequestHead(parts)
    known = REQUEST_FIELD_RULES.known
    seen = 0
    nominated = b""
    for name, value in fields:
        kind = known.get(name)
        if kind is None:
            kind = REQUEST_FIELD_RULES.classify(name)
        if not kind or kind >= USER_AGENT:
            parts += (name, b": ", value, b"\r\n")
        elif kind > CONNECTION:
            _place(head, kind, name, value)
        elif kind == CONNECTION and value not in _PLAIN_CONNECTION:
            nominated += b"," + value
        if kind >= HOST:
            bit = 1 << kind
            if seen & bit:
                raise ProxyError(ErrorKind.BAD_REQUEST, f"The header {name.decode('ascii')} is there more than once.")
            seen |= bit
    _check_framing(head, http_minor)
    _check_host(head, target, http_minor)
    if nominated:
        _remove_nominated(head, nominated)
    if head.upgrade is not None and b"upgrade" not in nominated.lower():
        head.upgrade = None  # RFC 9110 section 7.8: it has no meaning without the connection option
    json = head.content_type == JSON or media_of(head.content_type) in _READ_AS_JSON
    if not json or head.model_override is not None or head.content_encoding or head.upgrade is not None:
        head.plain = False
    return head


def _place(head: RequestHead, kind: int, name: bytes, value: bytes) -> None:
    """Read a field, and add its line to ``parts`` if it is passed on."""
    parts = head.parts
    at = len(parts)
    if kind == HOST:
        head.host_at = at + 2
    elif kind == CONTENT_LENGTH:
        head.content_length = int(value)
        head.length_at = at + 2
    elif kind == CONTENT_TYPE:
        head.content_type = value
    elif kind == CONTENT_ENCODING:
        head.content_encoding = value
        head.encoding_at = at
    elif kind == TRACE:
        head.trace_at = (*head.trace_at, at)
    elif kind == SUBPROTOCOL:
        value = _take_key(head, value)
        if not value:
            return
    else:
        _note(head, kind, value)
        return
    parts += (name, b": ", value, b"\r\n")


def _note(head: RequestHead, kind: int, value: bytes) -> None:
    """Read a field that is not passed on."""
    if kind in _CREDENTIALS:
        if kind == AUTHORIZATION:
            head.authorization = value
        elif value:
            _note_api_key(head, value)
        _reserve_credential(head)
    elif kind == MODEL_OVERRIDE:
        head.model_override = value
    elif kind == TRANSFER_ENCODING:
        head.chunked = _is_chunked(value)
    elif kind == EXPECT:
        head.expects_continue = _is_continue(value)
    elif kind == UPGRADE:
        head.upgrade = value.strip().lower()


def _note_api_key(head: RequestHead, value: bytes) -> None:
    """Several fields may hold the client's key, and their order must not decide which counts.

    Different keys are joined. The result is not an accepted key, but no error for a target without keys.
    """
    if head.api_key is not None and head.api_key != value:
        value = b"%b, %b" % (head.api_key, value)
    head.api_key = value


def _reserve_credential(head: RequestHead) -> None:
    """Reserve the place of the client's first credential for the provider's."""
    if head.credential_at < 0:
        head.credential_at = len(head.parts)
        head.parts.append(b"")


def _take_key(head: RequestHead, value: bytes) -> bytes:
    """Read the key among the subprotocols. Returns ``value`` without it, for the provider."""
    if _KEY_SUBPROTOCOL not in value.lower():
        return value
    others: list[bytes] = []
    for name in [part.strip(b" \t") for part in value.split(b",")]:
        if name[: len(_KEY_SUBPROTOCOL)].lower() != _KEY_SUBPROTOCOL:
            others.append(name)
        elif key := name[len(_KEY_SUBPROTOCOL) :]:
            _note_api_key(head, key)
            _reserve_credential(head)
    return b", ".join(others)


def _is_chunked(value: bytes) -> bool:
    """Any other coding would have to be decoded before forwarding (RFC 9112 section 6.1: 501)."""
    if value.strip().lower() != b"chunked":
        raise ProxyError(ErrorKind.TRANSFER_CODING)
    return True


def _is_continue(value: bytes) -> bool:
    if value.strip().lower() != b"100-continue":
        raise ProxyError(ErrorKind.EXPECTATION_FAILED)
    return True


def _check_framing(head: RequestHead, http_minor: int) -> None:
    """Two framings, or a framing that the version does not have, smuggle requests (RFC 9112 section 11.2)."""
    if not head.chunked:
        return
    if head.content_length is not None:
        raise ProxyError(ErrorKind.BAD_REQUEST, "Content-Length and Transfer-Encoding exclude each other.")
    if http_minor == 0:
        raise ProxyError(ErrorKind.BAD_REQUEST, "Transfer-Encoding does not exist in HTTP/1.0.")


def _check_host(head: RequestHead, target: bytes, http_minor: int) -> None:
    """RFC 9112 section 3.2: 400 for a missing or invalid Host; RFC 9110 section 4.2.4: no userinfo."""
    if head.host_at >= 0:
        if not _HOST.fullmatch(head.parts[head.host_at].strip()):
            raise ProxyError(ErrorKind.BAD_REQUEST, "The Host header is not a valid host name and port.")
    elif http_minor:
        raise ProxyError(ErrorKind.BAD_REQUEST, "The Host header is missing.")
    if target[:1] != b"/" and (named := authority(target)) is not None and not _HOST.fullmatch(named):
        raise ProxyError(
            ErrorKind.BAD_REQUEST, "The authority in the request target is not a valid host name and port."
        )


def _remove_nominated(head: RequestHead, nominated: bytes) -> None:
    """Blank the fields that Connection names (RFC 9110 section 7.6.1).

    Fields that frame, route or authenticate the message are not removed: a message without them has another meaning.
    """
    names = {token.strip().lower() for token in nominated.split(b",")}
    parts = head.parts
    protected = {head.host_at - 2, head.length_at - 2, head.encoding_at}
    at = 0
    while at < len(parts):
        if at == head.credential_at:
            at += 1
            continue
        name = parts[at].lower()
        if name in names and at not in protected and name != b"content-type":
            parts[at : at + 4] = (b"", b"", b"", b"")
        at += 4


def size_of(fields: Fields, target: bytes) -> int:
    """Bytes of a head on the wire, without padding."""
    return len(target) + sum(len(name) + len(value) + 4 for name, value in fields)


def is_other_protocol(read: bytes, method: bytes, target: bytes) -> bool:
    """True if the request that llhttp found in ``read`` is of RTSP or ICE.

    llhttp accepts those as HTTP, and does not report which of them it found.
    Bodies and values in ``read`` may contain similar lines, but not a request line of HTTP.
    """
    line = rb"%b +%b +(HTTP|RTSP|ICE)/[0-9]\.[0-9](?=\r?\n)" % (re.escape(method), re.escape(target))
    # The request line is not at the beginning of a line if it follows the body of the previous request.
    protocols = re.findall(rb"(?:\A|\n)" + line, read) or re.findall(line, read)
    return bool(protocols) and b"HTTP" not in protocols


def strip_upgrade(fields: Fields) -> list[Field]:
    """The fields without those of an upgrade, which may be ignored (RFC 9110 section 7.8).

    Connection keeps its other options: ``close``, and names of fields that are not for the provider.
    """
    kept = []
    for name, value in fields:
        lower = name.lower()
        if lower == b"connection":
            options = [option for option in value.split(b",") if option.strip().lower() not in _OF_UPGRADES]
            if options:
                kept.append((name, b",".join(options).strip()))
        elif lower not in _OF_UPGRADES:
            kept.append((name, value))
    return kept
