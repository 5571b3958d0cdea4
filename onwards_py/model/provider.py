"""One provider of a pool, compiled. Secrets are kept out of every ``repr``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, ClassVar

from onwards_py.messages import Field
from onwards_py.model.apis import ALL_NATIVE, ApiTable
from onwards_py.model.limits import NO_LIMITS, Limits
from onwards_py.setting import Setting, ValueKind
from onwards_py.transcode.neutral.settings import TranslateSettings
from onwards_py.wire.query import Query
from onwards_py.wire.redaction import Redaction
from onwards_py.wire.target_url import join, join_sdk_base_url

HEAD_OF_STREAM = 60.0
"""The default timeout, in seconds, of the head of a stream if another provider can be tried. Providers begin a stream
when they begin to work, and engines that process a long prompt first need seconds. A stream that has not begun after a
minute is unlikely to begin at all, and users and load balancers time out soon after (at 60 to 100 s)."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, or text such as 30s.

    None: no bound.
    """

    merged_by_key: ClassVar = True

    connect: Annotated[float, Setting("Time for DNS, TCP and TLS.", ValueKind.TIMEOUT)] = 5.0
    first_byte: Annotated[
        float,
        Setting(
            "Time from the sent request to the complete response head.",
            ValueKind.TIMEOUT,
            default="600s; 60s for streams if fallback has another remote provider to try",
        ),
    ] = 600.0
    """The default is the timeout of the SDKs of OpenAI and Anthropic: an answer that is not streamed sends no byte
    before it is complete."""
    idle: Annotated[float, Setting("Time between two reads of a body.", ValueKind.TIMEOUT)] = 300.0
    total: Annotated[float | None, Setting("Time for the whole exchange.", ValueKind.TIMEOUT, default="no bound")] = (
        None
    )
    first_token: Annotated[
        float | None,
        Setting("Time to the first event of a stream with content.", ValueKind.TIMEOUT, default="no bound"),
    ] = None
    first_byte_streamed: float | None = None
    """Replaces ``first_byte`` for a request that asks for a stream; None: ``first_byte`` applies."""
    head_of_stream: float | None = field(init=False)
    """The shorter of ``first_token`` and ``first_byte_streamed``; None: neither is set."""

    def __post_init__(self) -> None:
        bounds = [seconds for seconds in (self.first_token, self.first_byte_streamed) if seconds is not None]
        object.__setattr__(self, "head_of_stream", min(bounds, default=None))


@dataclass(frozen=True, slots=True)
class Origin:
    """The destination of connections, with all that makes them interchangeable: the key of the connection pool.

    ``proxy_url`` is an HTTP proxy to CONNECT through; ``ca_file`` replaces the system's trust store.
    """

    tls: bool
    host: str
    port: int
    ca_file: str | None = None
    verify: bool = True
    proxy_url: str | None = field(default=None, repr=False)
    socket: str | None = None
    """Path of a Unix socket, which takes the place of host and port."""
    ca_pem: str | None = field(default=None, repr=False)
    """The content of ``ca_file`` when it was read: another trust store makes another origin."""


@dataclass(frozen=True, slots=True)
class EchoSettings:
    """The embedded provider, which answers without a model. Delays are in seconds."""

    first_token_delay: Annotated[float, Setting("echo: wait before the response starts.", ValueKind.DURATION)] = 0.0
    token_delay: Annotated[float, Setting("echo: wait between two tokens.", ValueKind.DURATION)] = 0.0
    error_status: Annotated[int, Setting("echo: status of injected errors.", ge=400, le=599)] = 500
    error_rate: Annotated[float, Setting("echo: share of requests answered with an error.", ge=0, le=1)] = 0.0
    cut_after: Annotated[int | None, Setting("echo: truncate streams after this number of tokens.", ge=0)] = None
    text: Annotated[str | None, Setting("echo: respond with this text instead of an echo.")] = None


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """A local model, run by a process of its own. Providers with equal settings share one process.

    ``model`` is an absolute path or ``package:NAME``. ``eager``: load at the start, not with the first request.
    """

    engine: str
    model: str
    slots: Annotated[int, Setting("A model: concurrent requests.", ge=1, le=256)] = 1
    queue: Annotated[int, Setting("A model: largest number of waiting requests; further ones get 503.", ge=0)] = 32
    threads: Annotated[
        int | None, Setting("A model: computing threads.", ge=1, le=1024, default="all processors but one")
    ] = None
    context: Annotated[
        int | None,
        Setting(
            "llama_cpp: context window of each slot, in tokens.",
            ge=64,
            le=2**31 - 1,
            default="the model's, at most 8192",
        ),
    ] = None
    memory: Annotated[
        int | None,
        Setting(
            "A model: bound on the memory of its process, without the mapped file.", ValueKind.SIZE, default="none"
        ),
    ] = None
    gpu_layers: Annotated[int, Setting("llama_cpp: layers to put on a GPU.", ge=0, le=100_000)] = 0
    nice: Annotated[int, Setting("A model: nice value of its process.", ge=0, le=19)] = 5
    eager: bool = False
    hang_timeout: Annotated[
        float, Setting("A model: time without a response after which its process is killed.", ValueKind.TIMEOUT)
    ] = 10.0
    load_timeout: Annotated[float, Setting("A model: time for loading.", ValueKind.TIMEOUT)] = 300.0


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A GET request in the background, with the provider's credential; a 2xx response is a success."""

    merged_by_key: ClassVar = True

    path: Annotated[bytes, Setting("Path of the check.", ValueKind.REQUEST_PATH)] = field(
        default=b"/v1/models",
        repr=False,  # its query may hold a credential
    )
    interval: Annotated[float, Setting("Time between two checks.", ValueKind.TIMEOUT)] = 10.0
    timeout: Annotated[float, Setting("Timeout of a check.", ValueKind.TIMEOUT)] = 5.0
    unhealthy_after: Annotated[int, Setting("Consecutive failures that make the provider unhealthy.", ge=1)] = 3
    healthy_after: Annotated[int, Setting("Consecutive successes that make the provider healthy.", ge=1)] = 2


@dataclass(frozen=True, slots=True)
class Provider:
    """One member of a pool, compiled.

    ``identity`` is a digest, which reveals no secret; it is stable across reloads as long as URL, credential and model
    stay the same. ``name`` appears in logs and metrics. Exactly one of ``origin`` (HTTP) and ``local`` is set.
    """

    identity: str
    name: str
    weight: int = 1
    origin: Origin | None = None
    host: bytes = b""
    """Value of the Host field: authority of the URL, with the port if it is not the scheme's."""
    base_path: bytes = b""
    """Path of the URL, percent-encoded as written, without a trailing slash."""
    replaces_version: bool = False
    """The URL is the base URL of an SDK (``base_url``): it replaces the ``/v1`` of request paths."""
    query: Query | None = field(default=None, repr=False)
    """Query parameters that are added to every request to this provider."""
    local: EchoSettings | EngineSettings | None = None
    credential: Field | None = field(default=None, repr=False)
    """The header field that authenticates the proxy to the provider, with the prefix of its value."""
    redaction: Redaction | None = field(default=None, repr=False, compare=False)
    """Redacts the credential in the provider's errors."""
    model_name: str | None = None
    """``onwards_model``: the provider's name of the model; None keeps the client's bytes."""
    model_json: bytes | None = None
    """``model_name`` as a JSON string, quotes included."""
    response_fields: tuple[Field, ...] = ()
    """``response_headers``: added to every response of this provider; they replace fields of the same names."""
    propagate_trace: bool = False
    trusted: Annotated[bool, Setting("A provider of your own.")] = False
    rechunk: Annotated[bool, Setting("Write only complete events of a stream.")] = True
    repair: Annotated[bool, Setting("Repair defective Responses streams of a native provider.")] = False
    max_event_bytes: Annotated[int, Setting("Largest buffered event of a stream.", ValueKind.SIZE, key="max_event")] = (
        8 * 1024 * 1024
    )
    passes_large_events: bool = True
    """Events larger than ``max_event_bytes`` are forwarded in pieces; otherwise they end the stream. Applies to native
    streams that are only re-chunked."""
    cut_notice: Annotated[bool, Setting("End a truncated native stream with an error event.")] = False
    timeouts: Timeouts = Timeouts()
    limits: Limits = NO_LIMITS
    apis: ApiTable = ALL_NATIVE
    translate: TranslateSettings | None = None
    """The settings of translation; None: the defaults."""
    health_check: HealthCheck | None = None
    duplicate_of: str = ""
    """Identity of the first provider in the pool with the same URL, credential and model; empty: this is the first."""
    shared_identity: str = field(init=False)
    """The identity that owns health and the pause after Retry-After. Limits belong to each listed provider instead."""
    join: Callable[[bytes], bytes] = field(init=False, repr=False, compare=False)
    """Converts a request target in origin form to path and query of the request to this provider. Raises
    ProxyError(BAD_REQUEST)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shared_identity", self.duplicate_of or self.identity)
        object.__setattr__(self, "join", _joining(self))

    @property
    def model_identity(self) -> str:
        """The identity of provider and model, because signatures of one model are invalid for another. It does not
        depend on the credential, which may change."""
        if self.origin is None:
            return self.identity
        return f"{self.host.decode('ascii')}{self.base_path.decode('ascii')} {self.model_name or ''}"


def _joining(provider: Provider) -> Callable[[bytes], bytes]:
    path = partial(join_sdk_base_url if provider.replaces_version else join, provider.base_path)
    query = provider.query
    return path if query is None else lambda target: query.apply_to(path(target))
