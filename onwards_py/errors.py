"""Every error that a client can get, in one table: kind -> status, type, code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class ErrorOrigin(Enum):
    """The party that caused a failure. The access log and the fallback rules distinguish them."""

    CLIENT = "client"
    PROXY = "proxy"
    UPSTREAM = "upstream"


_CLIENT: Final = ErrorOrigin.CLIENT
_PROXY: Final = ErrorOrigin.PROXY
_UPSTREAM: Final = ErrorOrigin.UPSTREAM

_INVALID: Final = "invalid_request_error"
_INTERNAL: Final = "internal_error"


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """The HTTP status of a kind of error, and the ``type`` and ``code`` of its envelope."""

    status: int
    type: str
    code: str
    origin: ErrorOrigin
    message: str


class ErrorKind(Enum):
    """The closed set of errors. The value of each member is its specification."""

    BAD_REQUEST = ErrorSpec(400, _INVALID, "bad_request", _CLIENT, "The request is malformed.")
    MODEL_REQUIRED = ErrorSpec(
        400,
        _INVALID,
        "bad_request",
        _CLIENT,
        "Name a model: either as 'model' in the body or in the Model-Override header.",
    )
    UNAUTHENTICATED = ErrorSpec(
        401,
        _INVALID,
        "unauthenticated",
        _CLIENT,
        "Please supply an authentication token to access this resource",
    )
    FORBIDDEN = ErrorSpec(403, _INVALID, "forbidden", _CLIENT, "Forbidden")
    MODEL_NOT_FOUND = ErrorSpec(
        404,
        _INVALID,
        "model_not_found",
        _CLIENT,
        "The model does not exist or you do not have access to it.",
    )
    NOT_FOUND = ErrorSpec(404, _INVALID, "not_found", _CLIENT, "There is nothing at this path.")
    METHOD_NOT_ALLOWED = ErrorSpec(405, _INVALID, "method_not_allowed", _CLIENT, "This method is not served here.")
    REQUEST_TIMEOUT = ErrorSpec(408, _INVALID, "request_timeout", _CLIENT, "The request did not arrive in time.")
    BODY_TOO_LARGE = ErrorSpec(413, _INVALID, "payload_too_large", _CLIENT, "The request body is too large.")
    TARGET_TOO_LONG = ErrorSpec(414, _INVALID, "uri_too_long", _CLIENT, "The request target is too long.")
    UNSUPPORTED_ENCODING = ErrorSpec(
        415,
        _INVALID,
        "unsupported_content_encoding",
        _CLIENT,
        "Send the body as it is, or encoded as one of: zstd, gzip, br, deflate.",
    )
    UNSUPPORTED_MEDIA_TYPE = ErrorSpec(
        415,
        _INVALID,
        "unsupported_media_type",
        _CLIENT,
        "Send the body as JSON in UTF-8, or as multipart/form-data.",
    )
    EXPECTATION_FAILED = ErrorSpec(
        417,
        _INVALID,
        "expectation_failed",
        _CLIENT,
        "Only 'Expect: 100-continue' is understood.",
    )
    # Codex falls back to HTTP at once after this status. After any other it retries the WebSocket.
    NO_WEBSOCKET = ErrorSpec(
        426,
        _INVALID,
        "websocket_not_supported",
        _CLIENT,
        "This is not served over WebSocket. Use HTTP.",
    )
    # RFC 9110 section 15.5.20. etcd uses it against DNS rebinding too.
    MISDIRECTED = ErrorSpec(
        421,
        _INVALID,
        "misdirected_request",
        _CLIENT,
        "This server is not known by that name.",
    )
    HEAD_TOO_LARGE = ErrorSpec(431, _INVALID, "headers_too_large", _CLIENT, "The request head is too large.")
    RATE_LIMIT = ErrorSpec(
        429,
        "rate_limit_error",
        "rate_limit",
        _CLIENT,
        "You are sending requests too quickly. Please slow down.",
    )
    CONCURRENCY_LIMIT = ErrorSpec(
        429,
        "rate_limit_error",
        "concurrency_limit_exceeded",
        _CLIENT,
        "Too many concurrent requests. Please wait for some requests to complete before sending more.",
    )
    INTERNAL = ErrorSpec(
        500,
        _INTERNAL,
        "internal_error",
        _PROXY,
        "An internal error occurred. Please try again later.",
    )
    TRANSFER_CODING = ErrorSpec(
        501,
        _INVALID,
        "transfer_encoding_not_supported",
        _CLIENT,
        "The only transfer coding understood is 'chunked'.",
    )
    METHOD_UNKNOWN = ErrorSpec(501, _INVALID, "method_not_implemented", _CLIENT, "This method is not known.")
    UPSTREAM_INVALID = ErrorSpec(
        502,
        _INTERNAL,
        "bad_gateway",
        _UPSTREAM,
        "The upstream service gave no valid HTTP answer.",
    )
    UPSTREAM_UNREACHABLE = ErrorSpec(
        503,
        _INTERNAL,
        "upstream_unreachable",
        _UPSTREAM,
        "The upstream service could not be reached. Please try again.",
    )
    LOCAL_UNAVAILABLE = ErrorSpec(
        503,
        _INTERNAL,
        "local_model_unavailable",
        _UPSTREAM,
        "The local model is not running at the moment. Please try again.",
    )
    NO_PROVIDER = ErrorSpec(
        503,
        _INTERNAL,
        "service_unavailable",
        _PROXY,
        "No provider is available for this model at the moment.",
    )
    OVERLOADED = ErrorSpec(503, _INTERNAL, "overloaded", _PROXY, "The proxy is at its capacity. Please try again.")
    UPSTREAM_TIMEOUT = ErrorSpec(
        504,
        _INTERNAL,
        "gateway_timeout",
        _UPSTREAM,
        "The upstream service took too long to respond. Please try again.",
    )
    LOOP = ErrorSpec(
        508,
        _INTERNAL,
        "loop_detected",
        _PROXY,
        "This request comes from the proxy itself: the provider of its model leads back here.",
    )
    VERSION = ErrorSpec(
        505,
        _INVALID,
        "http_version_not_supported",
        _CLIENT,
        "Only HTTP/1.0 and HTTP/1.1 are spoken.",
    )


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit that was exceeded."""

    name: str
    """``requests``, ``tokens`` or ``concurrent-requests``."""
    limit: int
    """How much may be used at once."""
    remaining: int
    reset: float | None = None
    """Seconds until all of the limit is available again. None: not known."""


class ProxyError(Exception):
    """An error to send to the client."""

    def __init__(
        self,
        kind: ErrorKind,
        message: str | None = None,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        limit: LimitState | None = None,
        allow: str | None = None,
    ) -> None:
        """``message`` and ``code`` replace those of the kind. ``message`` must not contain a secret.

        ``param``: the request parameter at fault, as in the OpenAI error envelope.
        ``retry_after``: in seconds.
        ``limit``: the limit that was exceeded.
        ``allow``: the methods that the path supports, for 405.
        """
        super().__init__(message or kind.value.message)
        self.kind = kind
        self.message = message or kind.value.message
        self.param = param
        self.code = code or kind.value.code
        self.retry_after = retry_after
        self.limit = limit
        self.allow = allow


def body_too_large(limit: int) -> ProxyError:
    """413, with the maximum size in bytes."""
    return ProxyError(ErrorKind.BODY_TOO_LARGE, f"Request body too large: the maximum allowed size is {limit} bytes.")
