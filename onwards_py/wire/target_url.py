"""Joins a provider's base path and a raw request target, by concatenation only.

Reference resolution, as by ``urljoin``, can leave the provider's authority with the provider's key: ``//evil/x`` and
``/http://evil/x`` would be sent to ``evil``.
Here bytes are concatenated, the authority is never taken from the request, and no byte is normalised.
"""

from __future__ import annotations

import re

from onwards_py.errors import ErrorKind, ProxyError

_VERSION = b"/v1"
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)")
# A ".." segment in any spelling that a server may decode, between "/", "\" or their codes.
_DOT_DOT_SEGMENT = re.compile(rb"(?i)(?:^|/|\\|%2f|%5c)(?:\.|%2e)(?:\.|%2e)(?:/|\\|%2f|%5c|;|$)")


def origin_form(target: bytes) -> bytes:
    """The path and query of a raw request target (RFC 9112 section 3.2), untouched.

    Scheme and authority of absolute-form are removed: they do not affect where a request is sent.
    Raises ProxyError(BAD_REQUEST) for authority-form, for asterisk-form and for a fragment.
    """
    if target[:1] != b"/":
        absolute = _ABSOLUTE.match(target)
        if absolute is None:
            raise ProxyError(ErrorKind.BAD_REQUEST, "The request target must be a path.")
        target = target[absolute.end() :]
        if target[:1] != b"/":
            target = b"/" + target
    if b"#" in target:
        raise ProxyError(ErrorKind.BAD_REQUEST, "The request target must not have a fragment.")
    return target


def authority(target: bytes) -> bytes | None:
    """Host and port of a request target in absolute-form, which replace those in Host (RFC 9112 section 3.2.2).

    None for any other form.
    """
    absolute = None if target[:1] == b"/" else _ABSOLUTE.match(target)
    return None if absolute is None else absolute[1]


def join(base_path: bytes, target: bytes) -> bytes:
    """Path and query of the request to the provider.

    ``base_path`` has no trailing slash and may be empty; ``target`` is in origin form.
    Segments at the end of the base path and at the beginning of the target are not doubled.
    With ``/v1/models``, ``/api/v1`` gives ``/api/v1/models``, ``/v1`` gives ``/v1/models``, ``/v2`` gives
    ``/v2/v1/models``, and ``/v1x`` gives ``/v1x/v1/models``.
    Raises ProxyError(BAD_REQUEST) for a path with ``..`` segments.
    """
    path = target.partition(b"?")[0]
    if b".." in path or b"%2" in path or b"\\" in path:
        _reject_dot_dot(path)
    if not base_path:
        return target
    if target.startswith(base_path) and target[len(base_path) : len(base_path) + 1] in (b"/", b"?", b""):
        return target
    at = base_path.find(b"/", 1)
    while at > 0:  # the longest overlap first
        overlap = base_path[at:]
        if target.startswith(overlap) and target[len(overlap) : len(overlap) + 1] in (b"/", b"?", b""):
            return base_path[:at] + target
        at = base_path.find(b"/", at + 1)
    return base_path + target


def join_sdk_base_url(base_path: bytes, target: bytes) -> bytes:
    """Path and query for a provider whose URL is the base URL of SDKs.

    SDKs append ``/chat/completions`` to it, so it replaces the target's ``/v1``: ``/api/paas/v4`` and ``/v1/models``
    give ``/api/paas/v4/models``.
    A target without ``/v1`` is appended.
    Raises ProxyError(BAD_REQUEST) as `join` does.
    """
    _reject_dot_dot(target.partition(b"?")[0])
    if target.startswith(_VERSION) and target[len(_VERSION) : len(_VERSION) + 1] in (b"/", b"?", b""):
        target = target[len(_VERSION) :]
        if not base_path and target[:1] != b"/":
            return b"/" + target
    return base_path + target


def _reject_dot_dot(path: bytes) -> None:
    if _DOT_DOT_SEGMENT.search(path):
        raise ProxyError(ErrorKind.BAD_REQUEST, "The request target must not contain '..' segments.")
