"""One provider: from its keys, inherited ones included, to the compiled `Provider`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256

import orjson

from onwards_py.config.compile_apis import compile_apis
from onwards_py.config.compile_limits import compile_limits
from onwards_py.config.compile_local import compile_local
from onwards_py.config.compile_translate import compile_translate
from onwards_py.config.diagnostics import Path
from onwards_py.config.inherit import Reporter
from onwards_py.config.no_proxy import is_excepted
from onwards_py.config.provider_schema import ProviderShape, TlsShape
from onwards_py.config.references import Env
from onwards_py.config.secret_shapes import looks_secret
from onwards_py.config.setting_shapes import build_if_enabled, explicit
from onwards_py.config.shape import Settings
from onwards_py.config.url_warnings import warn_about_url
from onwards_py.config.urls import ProxyUrl, Url
from onwards_py.messages import Field
from onwards_py.model.provider import (
    HEAD_OF_STREAM,
    EchoSettings,
    EngineSettings,
    HealthCheck,
    Origin,
    Provider,
    Timeouts,
)
from onwards_py.wire.query import Query
from onwards_py.wire.redaction import Redaction, compile_redaction

_CREDENTIAL_IN_QUERY = re.compile(r"(?:key|token|secret|password|auth|sig|signature|code)$", re.IGNORECASE)


def compile_provider(shape: ProviderShape, path: Path, reporter: Reporter, env: Env) -> Provider | None:
    """The provider, or None after an error was reported. Its name may not be unique yet."""
    if not _has_one_address(path, reporter):
        return None
    local = compile_local(shape.local, (*path, "local"), reporter, env) if shape.local is not None else None
    url = shape.url or shape.base_url
    origin = _origin(shape, url, path, reporter, env) if url is not None else None
    if local is None and origin is None:
        return None
    authority = url.authority if url is not None else _name_of(local)
    replaces_version = shape.base_url is not None
    if url is not None:
        warn_about_url(url, (*path, _place_of_url(path, reporter)), reporter, replaces_version=replaces_version)
    values = explicit(shape, Provider)
    trusted = bool(values.get("trusted"))
    if values.get("cut_notice") and values.get("rechunk") is False:
        reporter.warn(
            (*path, "cut_notice"),
            "has no effect with rechunk: false, because an error event could be inserted inside another event",
        )
    # Inherited, it is the model name of remote providers only; a local provider accepts any name.
    renames = origin is not None or reporter.has_key((*path, "onwards_model"))
    model = shape.onwards_model if renames else None
    return Provider(
        identity=_identity(shape, local),
        name=shape.name or authority,
        weight=1 if shape.weight is None else shape.weight,
        origin=origin,
        host=authority.encode() if origin is not None else b"",
        base_path=url.path.encode() if url is not None else b"",
        replaces_version=replaces_version,
        query=_query(shape, path, reporter) if url is not None else None,
        local=local,
        credential=_credential(shape, path, reporter),
        redaction=_redaction(shape),
        model_name=model,
        model_json=None if model is None else orjson.dumps(model),
        response_fields=_response_fields(shape, path, reporter),
        propagate_trace=trusted if shape.propagate_trace_context is None else shape.propagate_trace_context,
        passes_large_events=shape.on_large_event != "cut",
        timeouts=_timeouts(shape.timeouts, remote=origin is not None),
        limits=compile_limits(shape, path, reporter),
        apis=compile_apis(shape, path, reporter),
        translate=compile_translate(shape.preset, shape.translate, path, reporter),
        health_check=_health_check(shape, path, reporter),
        **values,
    )


def _timeouts(shape: Settings[Timeouts] | None, *, remote: bool) -> Timeouts:
    """The timeouts. Without an explicit ``first_byte``, a remote provider has a shorter one for the heads of streams;
    `with_resilience` removes it where fallback has no other provider to try."""
    head_is_explicit = "first_byte" in explicit(shape)
    return replace(
        Timeouts(), **explicit(shape), first_byte_streamed=None if head_is_explicit or not remote else HEAD_OF_STREAM
    )


def _health_check(shape: ProviderShape, path: Path, reporter: Reporter) -> HealthCheck | None:
    """An inherited health check applies to remote providers only."""
    if shape.local is None:
        return build_if_enabled(shape.health_check)
    if reporter.has_key((*path, "health_check")):
        reporter.error(
            (*path, "health_check"), "is not allowed for a local provider, whose process is always monitored"
        )
    return None


def _has_one_address(path: Path, reporter: Reporter) -> bool:
    places = [name for name in ("url", "base_url", "local") if reporter.has_key((*path, name))]
    if len(places) > 1:
        reporter.error((*path, places[-1]), f"give either {' or '.join(map(repr, places))}, not both")
    if not places:
        reporter.error(path, "needs 'url', 'base_url' or 'local'")
    return len(places) == 1


def _place_of_url(path: Path, reporter: Reporter) -> str:
    return "base_url" if reporter.has_key((*path, "base_url")) else "url"


def _origin(shape: ProviderShape, url: Url, path: Path, reporter: Reporter, env: Env) -> Origin:
    tls = shape.tls or TlsShape()
    if tls.verify is False:
        reporter.warn(
            (*path, "tls"),
            "the provider's certificate is not verified: an attacker on the path can read and forge responses",
        )
    ca_pem = _trust_store(tls.ca_file, path, reporter, env) if tls.ca_file is not None else None
    ca_file = str((env.folder / (tls.ca_file or "")).absolute()) if ca_pem is not None else None
    proxy = shape.proxy.url if shape.proxy is not None else _proxy_of_environment(url, path, reporter, env.variables)
    return Origin(url.tls, url.host, url.port, ca_file, tls.verify is not False, proxy, ca_pem=ca_pem)


def _trust_store(name: str, path: Path, reporter: Reporter, env: Env) -> str | None:
    try:
        if "-----BEGIN " in (text := env.read_file(name)):
            return text
        reporter.error((*path, "tls", "ca_file"), "this file is not in PEM form")
    except ValueError as error:
        reporter.error((*path, "tls", "ca_file"), str(error))
    return None


def _proxy_of_environment(url: Url, path: Path, reporter: Reporter, env: Mapping[str, str]) -> str | None:
    """The proxy of HTTPS_PROXY and NO_PROXY, as curl reads them: for https URLs only."""
    proxy = env.get("https_proxy") or env.get("HTTPS_PROXY")
    exceptions = env.get("no_proxy") or env.get("NO_PROXY") or ""
    if not url.tls or not proxy or is_excepted(url.host, url.port, exceptions):
        return None
    try:
        return ProxyUrl.parse(proxy).url
    except ValueError as error:
        reporter.error(
            (*path, _place_of_url(path, reporter)), f"the environment variable HTTPS_PROXY is not usable: {error}"
        )
        return None


def _name_of(local: EchoSettings | EngineSettings | None) -> str:
    return local.engine if isinstance(local, EngineSettings) else "echo"


def _identity(shape: ProviderShape, local: EchoSettings | EngineSettings | None) -> str:
    place = shape.url.text if shape.url is not None else repr(local)
    if shape.base_url is not None:
        place = f"base {shape.base_url.text}"
    if shape.query:
        place += repr({name: value.value for name, value in shape.query.items()})
    key = shape.onwards_key.value if shape.onwards_key is not None else ""
    return sha256("\0".join((place, key, shape.onwards_model or "")).encode()).hexdigest()[:16]


def _credential(shape: ProviderShape, path: Path, reporter: Reporter) -> Field | None:
    if shape.onwards_key is None:
        return None
    if not shape.onwards_key.value:
        reporter.warn((*path, "onwards_key"), "is empty: requests are sent without a credential")
        return None
    name = shape.upstream_auth_header_name or "Authorization"
    return name.encode(), (_prefix(shape) + shape.onwards_key.value).encode()


def _prefix(shape: ProviderShape) -> str:
    return "Bearer " if shape.upstream_auth_header_prefix is None else shape.upstream_auth_header_prefix


def _redaction(shape: ProviderShape) -> Redaction | None:
    """Redacts the credential in errors of the provider; other query parameters, such as a version, are not secret."""
    key = "" if shape.onwards_key is None else shape.onwards_key.value
    query = [value.value for name, value in (shape.query or {}).items() if _CREDENTIAL_IN_QUERY.search(name)]
    return compile_redaction(_prefix(shape), key, query)


def _query(shape: ProviderShape, path: Path, reporter: Reporter) -> Query | None:
    parameters = shape.query or {}
    _reject_duplicates(parameters, (*path, "query"), "parameter", reporter)
    for name in filter(looks_secret, parameters):
        advice = (
            "this name looks like a secret, and check and logs show it: write the secret as the value of a parameter"
        )
        reporter.warn((*path, "query", name), advice)
    return Query.of({name: value.value for name, value in parameters.items()}) if parameters else None


def _response_fields(shape: ProviderShape, path: Path, reporter: Reporter) -> tuple[Field, ...]:
    headers = shape.response_headers or {}
    _reject_duplicates(headers, (*path, "response_headers"), "header", reporter)
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


def _reject_duplicates(names: Iterable[str], path: Path, what: str, reporter: Reporter) -> None:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            reporter.error((*path, name), f"this {what} is given twice, in different case")
        seen.add(name.lower())
