"""Redaction of the provider's credential in its responses, in all spellings that error messages have for it.

Each byte becomes an asterisk, so lengths and framing stay the same.
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

MIN_SECRET: Final = 6
"""Minimum bytes of a secret. Shorter ones (``none``, ``EMPTY``) are placeholders, and occur in ordinary words."""

# Characters that JSON encoders escape for HTML, although JSON does not require it: by Go, .NET, Gson, and all together.
_BY_CODE_POINT: Final = ("<>&", "<>&'\"+`", "<>&'=", "<>&'\"+`=/")
_PERCENT: Final = re.compile(r"%[0-9A-F]{2}")


class Redaction:
    """The spellings of secrets, compiled. Its ``repr`` does not show them."""

    __slots__ = ("_firsts", "_longest", "_pattern", "_spellings")

    def __init__(self, secrets: frozenset[str]) -> None:
        found = {spelling.encode() for secret in secrets for spelling in _spellings_of(secret)}
        self._spellings = tuple(sorted(found, key=len, reverse=True))
        self._longest = len(self._spellings[0])
        self._pattern = re.compile(b"|".join(map(re.escape, self._spellings)))
        self._firsts = re.compile(b"|".join({re.escape(spelling[:1]) for spelling in found}))

    def redact(self, data: bytes) -> bytes:
        """``data`` with every secret redacted."""
        return self._pattern.sub(_asterisks, data)

    def redact_partial(self, data: bytes) -> tuple[bytes, bytes]:
        """`redact` for a part of the data. Returns the redacted part, and the rest, which may begin a secret."""
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
        """The first index from ``start`` on at which an incomplete secret may begin; else the end of ``data``."""
        for match in self._firsts.finditer(data, max(start, len(data) - self._longest + 1)):
            rest = data[match.start() :]
            if any(len(rest) < len(each) and each.startswith(rest) for each in self._spellings):
                return match.start()
        return len(data)


class Redactor:
    """Filter: redacts every secret. At most the beginning of one is buffered."""

    __slots__ = ("_held", "_redaction")

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes."""
        ready, self._held = self._redaction.redact_partial(self._held + piece)
        return ready

    def finish(self, ending: Ending) -> bytes:
        """The remaining bytes. Those of an incomplete body are dropped, because they may be most of a secret."""
        held, self._held = self._held, b""
        return self._redaction.redact(held) if ending is Ending.DONE else b""


def compile_redaction(prefix: str, key: str, others: Iterable[str] = ()) -> Redaction | None:
    """The redaction of the credential ``prefix + key`` and of ``others``. None: there is no secret."""
    secrets = frozenset(secret for secret in (*_secrets_of(prefix, key), *others) if len(secret) >= MIN_SECRET)
    return Redaction(secrets) if secrets else None


def _secrets_of(prefix: str, key: str) -> Iterator[str]:
    key = key.strip()
    if not key:
        return
    yield key
    if len(key) < MIN_SECRET:
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
    literal = json.dumps(secret)[1:-1]
    for text in (literal, json.dumps(literal)[1:-1]):  # the escaped form occurs if a message quotes another error
        yield text
        yield text.replace("/", "\\/")
    for characters in _BY_CODE_POINT:
        for form in ("\\u{:04x}", "\\u{:04X}"):
            yield "".join(form.format(ord(one)) if one in characters else json.dumps(one)[1:-1] for one in secret)
    for text in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield text
        yield _PERCENT.sub(lambda match: match[0].lower(), text)
    escaped = html.escape(secret)
    yield escaped
    yield escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


def _asterisks(match: re.Match[bytes]) -> bytes:
    return b"*" * len(match[0])
