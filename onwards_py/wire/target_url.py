"""Joining a provider's base path and a raw request target, by concatenation only.

Reference resolution (``urljoin`` and its kin) is a way out of the provider's authority with the provider's
key attached: ``//evil/x`` and ``/http://evil/x`` would leave for ``evil``. Bytes are concatenated here, the
authority is never taken from the request, and nothing is normalised.
"""

from __future__ import annotations

import re

from onwards_py.errors import Kind, ProxyError

_ABSOLUTE = re.compile(rb"(?i:https?)://[^/?#]*")
# A dot segment in any spelling that a server may decode: ".", "..", "%2e", and behind "/", "\" or their codes.
_CLIMBS = re.compile(rb"(?i)(?:^|/|\\|%2f|%5c)(?:\.|%2e)(?:\.|%2e)(?:/|\\|%2f|%5c|;|$)")


def origin_form(target: bytes) -> bytes:
    """The path and query of a raw request target (RFC 9112 section 3.2), untouched.

    Absolute-form loses scheme and authority: neither chooses where a request goes. Raises ProxyError(BAD_REQUEST)
    for authority-form, for asterisk-form and for a fragment.
    """
    if target[:1] != b"/":
        absolute = _ABSOLUTE.match(target)
        if absolute is None:
            raise ProxyError(Kind.BAD_REQUEST, "The request target must be a path.")
        target = target[absolute.end() :]
        if target[:1] != b"/":
            target = b"/" + target
    if b"#" in target:
        raise ProxyError(Kind.BAD_REQUEST, "The request target must not have a fragment.")
    return target


def join(base_path: bytes, target: bytes) -> bytes:
    """Path and query to ask the provider for.

    ``base_path`` has no trailing slash and may be empty; ``target`` is in origin form. If the target
    begins with the base path on a segment boundary, that prefix is not doubled: base ``/v1`` and target
    ``/v1/models`` give ``/v1/models``, base ``/v2`` gives ``/v2/v1/models``, and ``/v1x`` is no repetition.
    Raises ProxyError(BAD_REQUEST) for a path that climbs out of the base path or begins a new authority.
    """
    path = target.partition(b"?")[0]
    if b".." in path or b"%2" in path or b"\\" in path:
        _refuse_climbing(path)
    if not base_path:
        return target
    if target.startswith(base_path):
        following = target[len(base_path) : len(base_path) + 1]
        if following in (b"/", b"?", b""):
            return target
    return base_path + target


def _refuse_climbing(path: bytes) -> None:
    if _CLIMBS.search(path):
        raise ProxyError(Kind.BAD_REQUEST, "The request target must not contain '..' segments.")
