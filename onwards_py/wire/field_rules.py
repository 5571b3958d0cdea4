"""The rules of request fields: one table, with one lookup per field line.

Field names are case-insensitive (RFC 9110 section 5.1) but arrive in few spellings.
So a rule is looked up by the spelling first, and only a new spelling is folded. The cache of spellings is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# The rule of a field. Plain numbers, not an Enum: the lookup of a member costs ten times that of a global, and each
# field of each message needs one. KEEP is zero, so that the common case is the cheapest test.
KEEP: Final = 0
DROP: Final = 1
CONNECTION: Final = 2
TRACE: Final = 3
SUBPROTOCOL: Final = 4
# Fields from here on must not occur twice in a head.
HOST: Final = 5
CONTENT_LENGTH: Final = 6
TRANSFER_ENCODING: Final = 7
EXPECT: Final = 8
UPGRADE: Final = 9
AUTHORIZATION: Final = 10
X_API_KEY: Final = 11
API_KEY: Final = 12
MODEL_OVERRIDE: Final = 13
CONTENT_TYPE: Final = 14
CONTENT_ENCODING: Final = 15
# Passed on unchanged, but only once (RFC 9110 section 5.3).
USER_AGENT: Final = 16
CONTENT_LOCATION: Final = 17
CONTENT_RANGE: Final = 18
ETAG: Final = 19
MAX_FORWARDS: Final = 20
SERVER: Final = 21

REQUEST_RULES: Mapping[bytes, int] = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"expect": EXPECT,
    b"upgrade": UPGRADE,
    b"content-type": CONTENT_TYPE,
    b"content-encoding": CONTENT_ENCODING,
    b"model-override": MODEL_OVERRIDE,
    # The client's credentials. The provider gets its own.
    b"authorization": AUTHORIZATION,
    b"x-api-key": X_API_KEY,
    b"api-key": API_KEY,
    b"sec-websocket-protocol": SUBPROTOCOL,
    b"x-goog-api-key": DROP,
    b"proxy-authorization": DROP,
    b"proxy-authenticate": DROP,
    b"cookie": DROP,
    b"cookie2": DROP,
    # Hop-by-hop (RFC 9110 section 7.6.1).
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"te": DROP,
    b"trailer": DROP,
    b"http2-settings": DROP,
    # Unverified claims about the client.
    b"forwarded": DROP,
    b"x-forwarded-for": DROP,
    b"x-forwarded-host": DROP,
    b"x-forwarded-proto": DROP,
    b"x-forwarded-port": DROP,
    b"x-real-ip": DROP,
    # W3C trace context goes to trusted providers only.
    b"traceparent": TRACE,
    b"tracestate": TRACE,
    b"user-agent": USER_AGENT,
    b"content-location": CONTENT_LOCATION,
    b"content-range": CONTENT_RANGE,
    b"etag": ETAG,
    b"max-forwards": MAX_FORWARDS,
    b"server": SERVER,
}

_MAX_SPELLINGS = 4096
# CGI replaces characters of a field name that a variable name cannot have (RFC 3875 section 4.1.18).
_AS_VARIABLE = bytes(n if chr(n).isalnum() and n < 128 else ord("-") for n in range(256))


def folded(name: bytes) -> bytes:
    """A field's name as CGI and WSGI servers compare names.

    For them, Transfer_Encoding is Transfer-Encoding: a client could smuggle the latter past a proxy by sending the
    former.
    Most servers fold ``_`` only; lighttpd folds all characters except letters and digits.
    """
    return name.lower().translate(_AS_VARIABLE)


class FieldRules:
    """Spelling -> rule. A new spelling is folded once, and cached while there is room."""

    __slots__ = ("_rules", "known")

    def __init__(self, rules: Mapping[bytes, int]) -> None:
        self._rules = rules
        self.known = dict(rules)

    def classify(self, name: bytes) -> int:
        """The rule of a spelling that is not in ``known``, which caches it."""
        rule = self._rules.get(name.lower())
        if rule is None:
            rule = DROP if folded(name) in self._rules else KEEP
        if len(self.known) < _MAX_SPELLINGS:
            self.known[name] = rule
        return rule


REQUEST_FIELD_RULES = FieldRules(REQUEST_RULES)
