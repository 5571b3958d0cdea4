"""Blanking a credential of ours in what a provider says, in the spellings that error messages have for it.

Each of its bytes becomes an asterisk, so lengths stay and no framing changes.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

from onwards_py.messages import Ending

SHORTEST: Final = 6
"""Bytes that a secret must have; shorter ones (``none``, ``EMPTY``) are placeholders, and stand in ordinary words."""

# What JSON encoders write by code point beyond need, since it means something in HTML: Go, .NET, Gson, and all of them.
_BY_CODE_POINT: Final = ("<>&", "<>&'\"+`", "<>&'=", "<>&'\"+`=/")
_PERCENT: Final = re.compile(r"%[0-9A-F]{2}")


class Redaction:
    """The spellings of some secrets, compiled. Has no ``repr`` that tells them."""

    __slots__ = ("_firsts", "_longest", "_pattern", "_spellings")

    def __init__(self, secrets: frozenset[str]) -> None:
        found = {spelling.encode() for secret in secrets for spelling in _spellings_of(secret)}
        self._spellings = tuple(sorted(found, key=len, reverse=True))
        self._longest = len(self._spellings[0])
        self._pattern = re.compile(b"|".join(map(re.escape, self._spellings)))
        self._firsts = re.compile(b"|".join({re.escape(spelling[:1]) for spelling in found}))

    def redact(self, data: bytes) -> bytes:
        """``data`` with every secret blanked."""
        return self._pattern.sub(_asterisks, data)

    def redact_partial(self, data: bytes) -> tuple[bytes, bytes]:
        """The same for a beginning of the data: what is final of it, and the rest, which may begin a secret."""
        final: list[bytes] = []
        start, keep = 0, self._may_begin(data, 0)
        for match in self._pattern.finditer(data):
            if match.start() >= keep:
                break
            final += (data[start : match.start()], _asterisks(match))
            start = match.end()
            if keep < start:
                keep = self._may_begin(data, start)
        if not final and keep == len(data):
            return data, b""
        return b"".join((*final, data[start:keep])), data[keep:]

    def _may_begin(self, data: bytes, start: int) -> int:
        """Where the first secret could begin, from ``start`` on, that ``data`` does not hold to its end."""
        for match in self._firsts.finditer(data, max(start, len(data) - self._longest + 1)):
            rest = data[match.start() :]
            if any(len(rest) < len(each) and each.startswith(rest) for each in self._spellings):
                return match.start()
        return len(data)


class Redactor:
    """Filter: the same bytes with every secret blanked. Held back is at most what may begin one."""

    __slots__ = ("_held", "_redaction")

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes."""
        ready, self._held = self._redaction.redact_partial(self._held + piece)
        return ready

    def finish(self, ending: Ending) -> bytes:
        """What remains. Of a body that was cut nothing: its last bytes may be most of a secret."""
        held, self._held = self._held, b""
        return self._redaction.redact(held) if ending is Ending.DONE else b""


def compile_redaction(prefix: str, key: str, others: Iterable[str] = ()) -> Redaction | None:
    """What blanks the credential ``prefix + key``, and ``others``; None if there is nothing to blank."""
    secrets = frozenset(secret for secret in (*_secrets_of(prefix, key), *others) if len(secret) >= SHORTEST)
    return Redaction(secrets) if secrets else None


def _secrets_of(prefix: str, key: str) -> Iterator[str]:
    key = key.strip()
    if not key:
        return
    yield key
    if len(key) < SHORTEST:
        yield (prefix + key).strip()
    scheme, _, token = (prefix + key).strip().partition(" ")
    if not token:
        return
    if token in key:  # the scheme is part of the key
        yield token.strip()
    if scheme.lower() == "basic":  # RFC 7617: a provider that decodes it may repeat the pair, or the password
        try:
            pair = base64.b64decode(token, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            return
        yield pair
        yield pair.partition(":")[2]


def _spellings_of(secret: str) -> Iterator[str]:
    yield secret
    told = json.dumps(secret)[1:-1]
    for text in (told, json.dumps(told)[1:-1]):  # the second: an error inside an error's message
        yield text
        yield text.replace("/", "\\/")
    for some in _BY_CODE_POINT:
        for form in ("\\u{:04x}", "\\u{:04X}"):
            yield "".join(form.format(ord(one)) if one in some else json.dumps(one)[1:-1] for one in secret)
    for text in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield text
        yield _PERCENT.sub(lambda match: match[0].lower(), text)
    escaped = html.escape(secret)
    yield escaped
    yield escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


def _asterisks(match: re.Match[bytes]) -> bytes:
    return b"*" * len(match[0])
