"""URLs of providers as people write them: where requests go, and what is warned of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from config_helpers import error, errors, provider, warnings

from onwards_py.routing.explain import effective_url, effective_urls

DATA = Path(__file__).parents[1] / "data" / "provider_urls.yaml"


@dataclass(frozen=True)
class Vendor:
    """A row of the table; see its head."""

    name: str
    base: str
    chat: str
    url: str
    source: str | None


VENDORS = [Vendor(**row) for row in yaml.safe_load(DATA.read_text())]


def named(vendor: Vendor) -> str:
    return vendor.name


def one(**options: object) -> str:
    """A file with one target of these keys."""
    return json.dumps({"targets": {"m": options}})


@pytest.mark.parametrize("vendor", VENDORS, ids=named)
def test_what_sdks_are_given_is_right_as_base_url(vendor: Vendor) -> None:
    """Forty providers' own documentation, and no warning."""
    text = one(base_url=vendor.base)
    assert effective_url(provider(text)) == vendor.chat
    assert warnings(text) == []


@pytest.mark.parametrize("vendor", VENDORS, ids=named)
def test_the_same_as_url_is_right_or_warned_of(vendor: Vendor) -> None:
    """But for bases without any version, of which the text does not tell."""
    text = one(url=vendor.base)
    assert (effective_url(provider(text)) == vendor.chat) is (vendor.url == "right")
    assert bool(warnings(text)) is (vendor.url == "warned")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("url: 'https://h/v1/v1'", "has two versions"),
        ("base_url: 'https://h/api/v1/v1/'", "has two versions"),
        ("base_url: 'https://h/v1beta/v1'", "has two versions"),
        ("base_url: 'https://h/v1beta/openai/v1'", "has two versions"),
        ("url: 'https://h/v1beta/openai/v1'", "has two versions"),
        ("url: 'https://h/v1beta'", "/v1beta/v1/chat/completions; two versions"),
        ("url: 'https://h/v1p1beta1/x'", "two versions: if this is the base URL that SDKs take, write base_url"),
        ("url: 'https://h/V2/'", "/V2/v1/chat/completions; two versions"),
        ("url: 'https://h/openai/deployments/d'", "write base_url instead of url, and query: {api-version: ...}"),
        ("url: 'https://h/v1/chat/completions'", "ends in an endpoint, /chat/completions,"),
        ("base_url: 'https://h/v1/responses/'", "ends in an endpoint, /responses,"),
        ("url: 'https://h/embeddings'", "ends in an endpoint, /embeddings,"),
        ("base_url: 'https://h/v1/messages'", "ends in an endpoint, /messages,"),
        ("url: 'https://h/v1/models'", "ends in an endpoint, /models,"),
        ("url: 'https://h/v1/Completions'", "ends in an endpoint, /Completions,"),
    ],
)
def test_a_url_that_leads_to_a_404_is_warned_of_at_its_place(written: str, words: str) -> None:
    """Once, with line and column, for a provider of a pool as for a single one."""
    key = written.partition(":")[0]
    (single,) = warnings(f"targets:\n  m:\n    {written}\n")
    assert single.startswith(f"f.yaml:3:5: targets.m.{key}: ")
    assert words in single
    (member,) = warnings(f"targets: {{m: {{providers: [{{{written}}}]}}}}")
    assert member.startswith(f"f.yaml:1:28: targets.m.providers[0].{key}: ")


@pytest.mark.parametrize(
    "written",
    [
        "url: https://h/v1",
        "url: https://h/api/v1",
        "url: https://h",
        "url: https://h/chat-completions",
        "url: https://h/models/v1",
        "base_url: https://h.services.ai.azure.com/models",
        "url: https://h/inference",
        "url: https://h/ev1/vx/v/1",
        "base_url: https://h/v1/account/anthropic/v1",
        "base_url: https://h/v2",
    ],
)
def test_a_url_that_may_be_right_is_not_warned_of(written: str) -> None:
    """Gateways have versions of their own in front of those of providers."""
    assert warnings(f"targets: {{m: {{{written}}}}}") == []


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{url: http://a, base_url: http://b}", "targets.m.base_url: give either 'url' or 'base_url', not both"),
        ("{base_url: http://a, local: {engine: echo}}", "targets.m.local: give either 'base_url' or 'local', not both"),
        ("{base_url: ftp://a}", "targets.m.base_url: must begin with http:// or https://"),
        ("{base_url: 'http://a?x=1'}", "targets.m.base_url: must not have a query; give its parameters as 'query'"),
        ("{url: 'http://a#x'}", "targets.m.url: must not have a fragment"),
        ("{base_url: http://a, providers: []}", "targets.m.base_url: is not allowed beside 'providers'"),
        ("{url: http://a, query: {'': x}}", "a query parameter must have a name"),
        ("{url: http://a, query: {a: x, A: y}}", "targets.m.query.A: this parameter is given twice, in different case"),
        (
            "{url: http://a, health_check: {path: /v1/%2e%2E/x}}",
            "targets.m.health_check.path: The request target must not",
        ),
        ("{url: http://a, query: x}", "targets.m.query: expected a mapping"),
    ],
)
def test_contradictions_are_errors(written: str, message: str) -> None:
    """At the key that is one too many."""
    assert message in errors(f"targets: {{m: {written}}}")[0]


def test_query_parameters_are_merged_by_name_and_taken_as_they_look() -> None:
    """A date, a switch and a number are text, without quotes; the nearer word wins, in any case of its name."""
    made = provider(
        "defaults: {query: {api-version: 2024-10-21, a: on, z: 1.10}}\n"
        "targets: {m: {query: {API-Version: 2025-01-01}, providers: [{url: http://h, query: {b: '${B}'}}]}}",
        {"B": "x y"},
    )
    assert made.join(b"/v1/x") == b"/v1/x?a=on&z=1.10&API-Version=2025-01-01&b=x%20y"


def test_a_secret_in_the_query_is_in_no_text() -> None:
    """Neither in the provider's own description, nor where its URL is shown, nor in an error."""
    query = "{api-version: v7, key: '${K}'}"
    text = f"targets: {{m: {{url: http://h, query: {query}, health_check: {{path: /up?token=sk-canary}}}}}}"
    made = provider(text, {"K": "sk-canary"})
    shown = dict(effective_urls(made))
    assert shown["chat"] == "http://h/v1/chat/completions?api-version=v7&key=***"
    assert shown["health"] == "http://h/up?token=***&api-version=v7&key=***"
    assert "canary" not in repr(made)
    assert "canary" not in error("targets: {m: {url: http://h, query: {a: sk-canary, A: sk-canary}}}")


def test_providers_with_other_parameters_are_others() -> None:
    """Health and counts belong to an identity, which a secret cannot be read from."""
    ways = ["url: http://h", "base_url: http://h", "url: http://h, query: {a: '1'}", "url: http://h, query: {a: '2'}"]
    identities = {provider(f"targets: {{m: {{{way}}}}}").identity for way in ways}
    assert len(identities) == len(ways)
