"""How a body is parsed, by its Content-Type (RFC 9110 section 8.3)."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

JSON: Final = b"application/json"

_FORM: Final = b"application/x-www-form-urlencoded"
_CHARSET = re.compile(rb"charset[*0-9]*[ \t]*=[ \t]*(?:\"([^\"]*)\"|'([^']*)'|([^ \t;,]*))", re.IGNORECASE)
# In these charsets a byte below 0x80 is always ASCII, so the structure of JSON is the same as in UTF-8.
_LIKE_ASCII = re.compile(
    rb"utf-?8(?:-sig)?|(?:us-)?ascii|(?:iso)?[-_]?8859[-_][0-9]{1,2}|latin-?[0-9]|(?:windows|cp)-?125[0-9]"
)
_OPAQUE = re.compile(
    rb"(?:audio|font|image|video)/.*|application/(?:octet-stream|pdf|sdp|zip|gzip|x-gzip|x-tar|wasm)", re.DOTALL
)
# White space and an opening bracket, or a comment, which lenient parsers accept. A byte order mark may come first, and
# UTF-16 and UTF-32 have zeros between ASCII characters. JSON5 accepts every space of Unicode.
_LIKE_JSON = re.compile(
    rb"(?:\xfe\xff|\xff\xfe(?:\0\0)?|\0\0\xfe\xff)?"
    rb"(?:\0{0,3}[ \t\r\n\x0b\x0c]\0{0,3}|\xef\xbb\xbf"
    rb"|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)*+"
    rb"\0{0,3}(?:[{\[/#]|\Z)"
)
_MAX_PREFIX: Final = 64 * 1024
_DECLARES_JSON: Final = re.compile(rb"\r\ncontent-type:[ \t]*application/(?:[a-z.+-]+\+)?json\b", re.IGNORECASE)
_DECLARES_TYPE: Final = re.compile(rb"\r\ncontent-type:", re.IGNORECASE)


class Media(Enum):
    """How a body is parsed."""

    JSON = "json"
    """As JSON, whatever its type: few parsers check it."""
    FORM_DATA = "form-data"
    URLENCODED = "urlencoded"
    OPAQUE = "opaque"
    """Audio, images and other data that is not text."""
    ABSENT = "unsaid"
    UNREADABLE = "unreadable"
    """Text in a charset that is not a superset of ASCII, or a Content-Type with two types."""


def media_of(content_type: bytes) -> Media:
    """``content_type``: the value of Content-Type, empty if there is none."""
    if not content_type:
        return Media.ABSENT
    kind = content_type.partition(b";")[0].strip(b" \t").lower()
    if b"," in kind:  # two field lines that were joined
        kinds = {one.strip(b" \t") for one in kind.split(b",")}
        if len(kinds) > 1:
            return Media.UNREADABLE
        kind = kinds.pop()
    if kind[:10] == b"multipart/":
        return Media.FORM_DATA
    if _OPAQUE.fullmatch(kind) is not None:
        return Media.OPAQUE
    for groups in _CHARSET.findall(content_type):
        if _LIKE_ASCII.fullmatch(b"".join(groups).lower().strip(b" \t")) is None:
            return Media.UNREADABLE
    return Media.URLENCODED if kind == _FORM else Media.JSON


def may_be_json(body: bytes) -> bool:
    """True if a parser that ignores the Content-Type could parse ``body`` as a JSON object."""
    return _LIKE_JSON.match(body, 0, _MAX_PREFIX) is not None


def declares_json(lines: bytes) -> bool | None:
    """True if a Content-Type in ``lines`` (see `ResponseHead`) is JSON; None if there is no Content-Type."""
    return None if _DECLARES_TYPE.search(lines) is None else _DECLARES_JSON.search(lines) is not None
