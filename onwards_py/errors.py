"""Every failure that a client can be told about, in one table: kind -> status, type, code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Origin(Enum):
    """Whose doing a failure is; the access log and the fallback rules tell them apart."""

    CLIENT = "client"
    PROXY = "proxy"
    UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class Answer:
    """How a kind of failure is presented: HTTP status, and ``type`` and ``code`` of the envelope."""

    status: int
    type: str
    code: str
    origin: Origin
    message: str


class Kind(Enum):
    """The closed set of failures. The value is the whole presentation, so that none can be forgotten."""

    BAD_REQUEST = Answer(400, "invalid_request_error", "bad_request", Origin.CLIENT, "The request is malformed.")
    MODEL_REQUIRED = Answer(
        400,
        "invalid_request_error",
        "bad_request",
        Origin.CLIENT,
        "Name a model: either as 'model' in the body or in the Model-Override header.",
    )
    UNAUTHENTICATED = Answer(
        401,
        "invalid_request_error",
        "unauthenticated",
        Origin.CLIENT,
        "Please supply an authentication token to access this resource",
    )
    FORBIDDEN = Answer(403, "invalid_request_error", "forbidden", Origin.CLIENT, "Forbidden")
    MODEL_NOT_FOUND = Answer(
        404,
        "invalid_request_error",
        "model_not_found",
        Origin.CLIENT,
        "The model does not exist or you do not have access to it.",
    )
    NOT_FOUND = Answer(404, "invalid_request_error", "not_found", Origin.CLIENT, "There is nothing at this path.")
    METHOD_NOT_ALLOWED = Answer(
        405, "invalid_request_error", "method_not_allowed", Origin.CLIENT, "This method is not served here."
    )
    REQUEST_TIMEOUT = Answer(
        408, "invalid_request_error", "request_timeout", Origin.CLIENT, "The request did not arrive in time."
    )
    BODY_TOO_LARGE = Answer(
        413, "invalid_request_error", "payload_too_large", Origin.CLIENT, "The request body is too large."
    )
    TARGET_TOO_LONG = Answer(
        414, "invalid_request_error", "uri_too_long", Origin.CLIENT, "The request target is too long."
    )
    UNSUPPORTED_ENCODING = Answer(
        415,
        "invalid_request_error",
        "unsupported_content_encoding",
        Origin.CLIENT,
        "Send the body as it is, or encoded as one of: zstd, gzip, br, deflate.",
    )
    UNSUPPORTED_MEDIA_TYPE = Answer(
        415,
        "invalid_request_error",
        "unsupported_media_type",
        Origin.CLIENT,
        "Send the body as JSON in UTF-8, or as multipart/form-data.",
    )
    EXPECTATION_FAILED = Answer(
        417, "invalid_request_error", "expectation_failed", Origin.CLIENT, "Only 'Expect: 100-continue' is understood."
    )
    # The one status at which Codex goes on over HTTP at once; all others it tries again and again.
    NO_WEBSOCKET = Answer(
        426,
        "invalid_request_error",
        "websocket_not_supported",
        Origin.CLIENT,
        "This is not served over WebSocket. Use HTTP.",
    )
    # RFC 9110 section 15.5.20; etcd answers DNS rebinding with the same.
    MISDIRECTED = Answer(
        421, "invalid_request_error", "misdirected_request", Origin.CLIENT, "This server is not known by that name."
    )
    HEAD_TOO_LARGE = Answer(
        431, "invalid_request_error", "headers_too_large", Origin.CLIENT, "The request head is too large."
    )
    RATE_LIMIT = Answer(
        429,
        "rate_limit_error",
        "rate_limit",
        Origin.CLIENT,
        "You are sending requests too quickly. Please slow down.",
    )
    CONCURRENCY_LIMIT = Answer(
        429,
        "rate_limit_error",
        "concurrency_limit_exceeded",
        Origin.CLIENT,
        "Too many concurrent requests. Please wait for some requests to complete before sending more.",
    )
    INTERNAL = Answer(
        500, "internal_error", "internal_error", Origin.PROXY, "An internal error occurred. Please try again later."
    )
    TRANSFER_CODING = Answer(
        501,
        "invalid_request_error",
        "transfer_encoding_not_supported",
        Origin.CLIENT,
        "The only transfer coding understood is 'chunked'.",
    )
    METHOD_UNKNOWN = Answer(
        501, "invalid_request_error", "method_not_implemented", Origin.CLIENT, "This method is not known."
    )
    UPSTREAM_INVALID = Answer(
        502,
        "internal_error",
        "bad_gateway",
        Origin.UPSTREAM,
        "The upstream service gave no valid HTTP answer.",
    )
    UPSTREAM_UNREACHABLE = Answer(
        503,
        "internal_error",
        "upstream_unreachable",
        Origin.UPSTREAM,
        "The upstream service could not be reached. Please try again.",
    )
    LOCAL_UNAVAILABLE = Answer(
        503,
        "internal_error",
        "local_model_unavailable",
        Origin.UPSTREAM,
        "The local model is not running at the moment. Please try again.",
    )
    NO_PROVIDER = Answer(
        503,
        "internal_error",
        "service_unavailable",
        Origin.PROXY,
        "No provider is available for this model at the moment.",
    )
    OVERLOADED = Answer(
        503, "internal_error", "overloaded", Origin.PROXY, "The proxy is at its capacity. Please try again."
    )
    UPSTREAM_TIMEOUT = Answer(
        504,
        "internal_error",
        "gateway_timeout",
        Origin.UPSTREAM,
        "The upstream service took too long to respond. Please try again.",
    )
    LOOP = Answer(
        508,
        "internal_error",
        "loop_detected",
        Origin.PROXY,
        "This request comes from the proxy itself: the provider of its model leads back here.",
    )
    VERSION = Answer(
        505,
        "invalid_request_error",
        "http_version_not_supported",
        Origin.CLIENT,
        "Only HTTP/1.0 and HTTP/1.1 are spoken.",
    )


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit that was passed. ``name``: ``requests``, ``tokens`` or ``concurrent-requests``. ``limit`` is what may be
    used up at once, ``remaining`` what is left of it, ``reset`` the seconds until all of it is there again (None: not
    known)."""

    name: str
    limit: int
    remaining: int
    reset: float | None = None


class ProxyError(Exception):
    """A failure with a presentation. ``message`` overrides the kind's own; it never holds a secret.

    ``param`` names the request parameter at fault, as in the OpenAI error envelope; ``code`` is the kind's own unless
    something more exact is known. ``retry_after`` is in seconds. ``limit`` is the one that was passed. ``allow``: the
    methods that would do, for 405.
    """

    def __init__(
        self,
        kind: Kind,
        message: str | None = None,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        limit: LimitState | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(message or kind.value.message)
        self.kind = kind
        self.message = message or kind.value.message
        self.param = param
        self.code = code or kind.value.code
        self.retry_after = retry_after
        self.limit = limit
        self.allow = allow


def body_too_large(limit: int) -> ProxyError:
    """413 that says how much would be allowed (bytes)."""
    return ProxyError(Kind.BODY_TOO_LARGE, f"Request body too large: the maximum allowed size is {limit} bytes.")
