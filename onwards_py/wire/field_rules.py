"""Which header field is what: one table per direction, looked up once per field line.

Field names are case-insensitive (RFC 9110 section 5.1) but arrive in few spellings. A verdict is
found by the spelling first, and only a new spelling is folded; the memory of spellings is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class Rule(IntEnum):
    """What becomes of a field. KEEP is zero, so that the common case is the cheapest test."""

    KEEP = 0
    DROP = 1
    CONNECTION = 2
    TRACE = 3
    # From here on a repetition within one head is ambiguous and refused.
    HOST = 4
    CONTENT_LENGTH = 5
    TRANSFER_ENCODING = 6
    EXPECT = 7
    UPGRADE = 8
    AUTHORIZATION = 9
    X_API_KEY = 10
    API_KEY = 11
    MODEL_OVERRIDE = 12
    CONTENT_TYPE = 13
    CONTENT_ENCODING = 14
    # Kept as they are, but only once (RFC 9110 section 5.3).
    USER_AGENT = 15
    CONTENT_LOCATION = 16
    CONTENT_RANGE = 17
    ETAG = 18
    MAX_FORWARDS = 19
    SERVER = 20


REQUEST_RULES: Mapping[bytes, Rule] = {
    b"host": Rule.HOST,
    b"content-length": Rule.CONTENT_LENGTH,
    b"transfer-encoding": Rule.TRANSFER_ENCODING,
    b"connection": Rule.CONNECTION,
    b"expect": Rule.EXPECT,
    b"upgrade": Rule.UPGRADE,
    b"content-type": Rule.CONTENT_TYPE,
    b"content-encoding": Rule.CONTENT_ENCODING,
    b"model-override": Rule.MODEL_OVERRIDE,
    # Credentials are for us; the provider gets its own.
    b"authorization": Rule.AUTHORIZATION,
    b"x-api-key": Rule.X_API_KEY,
    b"api-key": Rule.API_KEY,
    b"x-goog-api-key": Rule.DROP,
    b"proxy-authorization": Rule.DROP,
    b"proxy-authenticate": Rule.DROP,
    b"cookie": Rule.DROP,
    b"cookie2": Rule.DROP,
    # Hop-by-hop (RFC 9110 section 7.6.1).
    b"keep-alive": Rule.DROP,
    b"proxy-connection": Rule.DROP,
    b"te": Rule.DROP,
    b"trailer": Rule.DROP,
    b"http2-settings": Rule.DROP,
    # Claims about the client that nobody vouches for.
    b"forwarded": Rule.DROP,
    b"x-forwarded-for": Rule.DROP,
    b"x-forwarded-host": Rule.DROP,
    b"x-forwarded-proto": Rule.DROP,
    b"x-forwarded-port": Rule.DROP,
    b"x-real-ip": Rule.DROP,
    # W3C trace context goes to trusted providers only.
    b"traceparent": Rule.TRACE,
    b"tracestate": Rule.TRACE,
    b"user-agent": Rule.USER_AGENT,
    b"content-location": Rule.CONTENT_LOCATION,
    b"content-range": Rule.CONTENT_RANGE,
    b"etag": Rule.ETAG,
    b"max-forwards": Rule.MAX_FORWARDS,
    b"server": Rule.SERVER,
}

RESPONSE_RULES: Mapping[bytes, Rule] = {
    b"content-length": Rule.CONTENT_LENGTH,
    b"transfer-encoding": Rule.TRANSFER_ENCODING,
    b"connection": Rule.CONNECTION,
    b"content-type": Rule.CONTENT_TYPE,
    b"content-encoding": Rule.CONTENT_ENCODING,
    b"keep-alive": Rule.DROP,
    b"proxy-connection": Rule.DROP,
    b"proxy-authenticate": Rule.DROP,
    b"te": Rule.DROP,
    b"trailer": Rule.DROP,
    b"upgrade": Rule.DROP,
}

_MEMORY = 4096


class RuleBook(dict[bytes, Rule]):
    """Spelling -> rule. A miss folds the name, asks the table, and remembers while there is room."""

    __slots__ = ("_rules",)

    def __init__(self, rules: Mapping[bytes, Rule]) -> None:
        super().__init__(rules)
        self._rules = rules

    def __missing__(self, name: bytes) -> Rule:
        rule = self._rules.get(name.lower(), Rule.KEEP)
        if len(self) < _MEMORY:
            self[name] = rule
        return rule


request_rule = RuleBook(REQUEST_RULES)
response_rule = RuleBook(RESPONSE_RULES)
