"""Warnings about URLs of providers that are valid, but would cause a 404."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from onwards_py.config.diagnostics import Path
from onwards_py.config.inherit import Reporter
from onwards_py.config.urls import Url
from onwards_py.wire.target_url import join

_CHAT: Final = "/v1/chat/completions"
# /models only after a version: Azure AI has the base URL https://NAME.services.ai.azure.com/models.
_ENDPOINT: Final = re.compile(
    r"/(?:chat/completions|completions|responses|embeddings|messages|(?<=/v1/)models|rerank|moderations|realtime"
    r"|audio/(?:speech|transcriptions|translations)|images/(?:generations|edits|variations))$",
    re.IGNORECASE,
)
# v1, v1beta, v1beta1, v2alpha, v1p1beta1
_VERSION: Final = re.compile(r"v[0-9]+(?:p[0-9]+)?((?:alpha|beta|rc)[0-9]*)?", re.IGNORECASE)
# Azure deployments have their version in the query.
_DEPLOYMENT: Final = re.compile(r"/openai/deployments/[^/]+$", re.IGNORECASE)


def warn_about_url(url: Url, path: Path, reporter: Reporter, *, replaces_version: bool) -> None:
    """Report at most one warning. ``replaces_version``: the URL is a ``base_url``."""
    endpoint = _ENDPOINT.search(url.path)
    if endpoint is not None:
        reporter.warn(path, f"ends in an endpoint, {endpoint[0]}, which requests add: remove it")
    elif _has_two_versions(url.path):
        reporter.warn(path, "has two versions in its path: remove one of them")
    elif not replaces_version:
        _warn_of_joined(url, path, reporter)


def _has_two_versions(base_path: str) -> bool:
    """Two adjacent versions, or a preview and another version. Gateways may have a version of their own in front."""
    steps = [_VERSION.fullmatch(step) for step in base_path.split("/")]
    versions = [step for step in steps if step is not None]
    apart = len(versions) > 1 and any(version[1] for version in versions)
    return apart or any(one is not None and other is not None for one, other in pairwise(steps))


def _warn_of_joined(url: Url, path: Path, reporter: Reporter) -> None:
    """Warn about a URL to which the ``/v1`` of requests is appended although it has, or must not have, a version."""
    joined = join(url.path.encode(), _CHAT.encode()).decode()
    if joined != url.path + _CHAT:
        return  # the /v1 of the URL and that of the request path are joined into one
    if _DEPLOYMENT.search(url.path):
        advice = "Azure has no version there: write base_url instead of url, and query: {api-version: ...}"
    elif any(map(_VERSION.fullmatch, url.path.split("/"))):
        advice = "two versions: if this is the base URL that SDKs take, write base_url instead of url"
    else:
        return
    reporter.warn(path, f"requests for {_CHAT} go to {joined}; {advice}")
