"""Files that Onwards accepts load here and mean the same, but for what is listed as its bugs."""

from __future__ import annotations

import pytest
from config_helpers import digest, error, errors, loaded, pool, provider, warnings

from onwards_py.model.apis import ALL_NATIVE, ApiTable
from onwards_py.model.limits import Limits, RateLimit
from onwards_py.model.policies import Strategy
from onwards_py.model.pool import KeyDefinition
from onwards_py.wire.api import Api

EVERYTHING = """{
  "strict_mode": false,
  "http_pool": {"max_idle_per_host": 300, "idle_timeout_secs": 60},
  "auth": {
    "global_keys": ["g"],
    "key_definitions": {
      "basic": {"key": "sk-b", "rate_limit": {"requests_per_second": 10, "burst_size": 20},
                "concurrency_limit": {"max_concurrent_requests": 5}, "labels": {"tier": "free"}},
      "plain": {"key": "sk-p", "rate_limit": null}
    }
  },
  "targets": {
    "single": {"url": "https://api.openai.com", "keys": ["sk-b"], "onwards_key": "k", "onwards_model": "gpt-4",
               "rate_limit": {"requests_per_second": 50, "burst_size": 100},
               "concurrency_limit": {"max_concurrent_requests": 20},
               "upstream_auth_header_name": "X-API-Key", "upstream_auth_header_prefix": "",
               "response_headers": {"Input-Price": "0.1"}, "weight": 2, "trusted": true,
               "open_responses": {"adapter": false}, "request_timeout_secs": 30},
    "pool": {"keys": null, "rate_limit": {"requests_per_second": 7},
             "concurrency_limit": {"max_concurrent_requests": 0},
             "strategy": "priority", "trusted": true,
             "fallback": {"enabled": true, "on_status": [429, 5, 50], "on_rate_limit": true, "with_replacement": true,
                          "max_attempts": 4, "max_total_backoff_ms": 900,
                          "backoff": {"initial_ms": 100, "max_ms": 1000, "factor": 3, "jitter": "none"}},
             "providers": [{"url": "https://a.example/v1/", "trusted": false, "weight": 3,
                            "propagate_trace_context": true},
                           {"url": "https://b.example", "rate_limit": {"requests_per_second": 1}}]},
    "list": [{"url": "https://c.example", "keys": ["first"], "rate_limit": {"requests_per_second": 3}},
             {"url": "https://d.example", "weight": 0}]
  }
}"""


def test_a_single_target_limits_its_provider_and_carries_every_field() -> None:
    """rate_limit and concurrency_limit of a single target are provider limits in Onwards."""
    made = pool(EVERYTHING, name="single")
    (only,) = made.providers
    assert made.limits == Limits()
    assert made.keys == {digest("g"), digest("sk-b")}
    assert only.limits == Limits(RateLimit(50, 100), 20)
    assert only.credential == (b"X-API-Key", b"k")
    assert (only.model_name, only.model_json) == ("gpt-4", b'"gpt-4"')
    assert only.response_fields == ((b"Input-Price", b"0.1"),)
    assert (only.weight, only.apis, only.timeouts.first_byte) == (2, ALL_NATIVE, 30.0)
    assert (only.trusted, only.propagate_trace) == (True, True)


def test_a_pool_has_its_own_limits_and_its_fallback_figures() -> None:
    """Pool limits stay with the pool; a bucket without burst_size holds one second's worth; 0 places refuse all."""
    made = pool(EVERYTHING, name="pool")
    first, second = made.providers
    assert made.strategy is Strategy.PRIORITY
    assert made.keys == {digest("g")}
    assert made.limits == Limits(RateLimit(7, 7), 0)
    assert (first.limits, second.limits) == (Limits(), Limits(RateLimit(1, 1)))
    assert (first.trusted, first.propagate_trace) == (False, True)
    assert (second.trusted, second.propagate_trace) == (True, True)
    assert (first.base_path, first.weight) == (b"/v1", 3)
    policy = made.fallback
    assert policy.statuses == {429, *range(500, 600)}
    assert (policy.enabled, policy.on_rate_limit, policy.with_replacement, policy.max_attempts) == (True, True, True, 4)
    assert (policy.backoff_initial, policy.backoff_max, policy.backoff_factor) == (0.1, 1.0, 3.0)
    assert (policy.backoff_jitter, policy.max_total_backoff) == (False, 0.9)


def test_a_list_is_a_pool_whose_keys_are_those_of_its_first_entry() -> None:
    """The legacy form; limits of an entry bound that provider."""
    made = pool(EVERYTHING, name="list")
    assert made.keys == {digest("g"), digest("first")}
    assert [member.weight for member in made.providers] == [1, 0]
    assert made.providers[0].limits == Limits(RateLimit(3, 3))


def test_keys_and_connection_pool_are_read() -> None:
    """key_definitions by digest, http_pool with its original key names."""
    snapshot = loaded(EVERYTHING).snapshot
    assert snapshot.key_definitions == {
        digest("sk-b"): KeyDefinition("basic", Limits(RateLimit(10, 20), 5), {"tier": "free"}),
        digest("sk-p"): KeyDefinition("plain"),
    }
    assert (snapshot.http_pool.max_idle_per_host, snapshot.http_pool.idle_timeout) == (300, 60.0)


def test_nothing_of_it_is_warned_about() -> None:
    """All of it has an effect."""
    assert warnings(EVERYTHING) == []


def test_documented_configurations_that_fail_in_onwards_load() -> None:
    """Fractional rates, and `auth` without `global_keys`."""
    made = pool(
        "auth: {key_definitions: {}}\n"
        "targets: {m: {url: http://h, rate_limit: {requests_per_second: 0.5}}}"
    )  # fmt: skip
    assert made.providers[0].limits.rate == RateLimit(0.5, 1.0)
    assert made.keys is None


def test_pool_level_headers_and_mode_apply_and_a_provider_overrides_them() -> None:
    """Onwards parses both at pool level and never uses them."""
    text = """
targets:
  m:
    response_headers: {X-Cost: "1", X-Pool: p}
    open_responses: {adapter: true}
    providers:
      - url: http://a
      - {url: http://b, response_headers: {x-cost: "2"}, open_responses_mode: native}
"""
    first, second = pool(text).providers
    assert first.response_fields == ((b"X-Cost", b"1"), (b"X-Pool", b"p"))
    assert second.response_fields == ((b"X-Pool", b"p"), (b"x-cost", b"2"))
    assert (first.apis, second.apis) == (ApiTable(responses=Api.CHAT_COMPLETIONS), ALL_NATIVE)


def test_the_id_of_a_key_definition_stands_for_its_key() -> None:
    """As Onwards documents and does not do."""
    text = """
auth: {global_keys: [boss], key_definitions: {boss: {key: sk-boss}, staff: {key: sk-staff}}}
targets: {m: {url: http://h, keys: [staff, sk-literal]}}
"""
    assert pool(text).keys == {digest("sk-boss"), digest("sk-staff"), digest("sk-literal")}


def test_a_word_that_is_an_id_and_another_key_is_an_error() -> None:
    """Which of the two is meant cannot be known."""
    text = """
auth: {key_definitions: {a: {key: b}, b: {key: sk-2}}}
targets: {m: {url: http://h, keys: [b]}}
"""
    assert error(text) == (
        "f.yaml:2:30: auth.key_definitions.a.key: "
        "is also the id of another key definition, so a list of keys could mean either; rename that id"
    )


def test_an_id_that_is_its_own_key_is_no_ambiguity() -> None:
    """Both readings name the same token."""
    assert pool("auth: {key_definitions: {a: {key: a}}}\ntargets: {m: {url: http://h, keys: [a]}}").keys == {
        digest("a")
    }


def test_two_ids_for_one_key_are_an_error() -> None:
    """Their limits and labels would contradict each other."""
    text = "auth: {key_definitions: {a: {key: k}, b: {key: k}}}\ntargets: {}"
    assert error(text).endswith("auth.key_definitions.b.key: is the same key as that of 'a'")


def test_an_empty_list_of_keys_lets_nobody_in_and_no_list_lets_everybody_in() -> None:
    """`keys: []` is a closed target, not an open one."""
    assert pool("targets: {m: {url: http://h, keys: []}}").keys == frozenset()
    assert pool("targets: {m: {url: http://h}}").keys is None


@pytest.mark.parametrize("text", ["targets: {m: {providers: []}}", "targets: {m: []}"])
def test_a_target_without_providers_loads_with_a_warning(text: str) -> None:
    """Onwards answers it with 503."""
    assert pool(text).providers == ()
    assert "every request is answered with 503" in warnings(text)[0]


@pytest.mark.parametrize(
    ("text", "position", "what"),
    [
        ("strict_mode: true\ntargets: {m: {url: http://h}}", "1:1", "strict_mode: has no effect"),
        ("targets: {m: {url: http://h, sanitize_response: true}}", "1:30", "sanitize_response: is accepted but"),
        (
            "targets: {m: {url: http://h, reasoning_translation: {chat_completions: {writes: []}}}}",
            "1:30",
            "reasoning_translation: is accepted but",
        ),
        ("targets: {m: {providers: [{url: http://h}], fallback: {on_status: [5]}}}", "1:45", "fallback: has no effect"),
        ("targets: {m: [{url: http://h}, {url: http://i, keys: [k]}]}", "1:48", "keys: has no effect"),
        ("targets: {m: {url: http://h, onwards_key: ''}}", "1:30", "onwards_key: is empty"),
        ("targets: {m: {url: http://h, keys: ['']}}", "1:37", "keys[0]: is empty"),
        (
            "targets: {m: {url: https://h, tls: {verify: false}}}",
            "1:31",
            "tls: the provider's certificate is not verified",
        ),
    ],
)
def test_what_has_no_effect_or_is_dangerous_is_said(text: str, position: str, what: str) -> None:
    """Accepted, and never silently ignored: one warning with file, line and column."""
    (warning,) = warnings(text)
    assert warning.startswith(f"f.yaml:{position}: ")
    assert what in warning


@pytest.mark.parametrize(
    "text",
    [
        "targets: {m: {url: http://h, sanitize_response: false, routing_rules: [], open_responses_mode: native}}",
        "targets: {m: {url: http://h, fallback: {enabled: false, on_status: [5]}}}",
    ],
)
def test_what_is_switched_off_is_not_warned_about(text: str) -> None:
    """A warning says something new."""
    assert warnings(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("targets: {m: {url: http://h, weight: 0}}", "every weight is 0"),
        ("targets: {m: {providers: [{url: http://h, weight: 0}, {url: http://i, weight: 0}]}}", "every weight is 0"),
        ("targets: {m: {providers: [{url: http://h}], fallback: {max_attempts: 0}}}", "must be at least 1"),
        ('targets: {m: {url: http://h, onwards_key: "a\\r\\nX: y"}}', "is not allowed in a header"),
        ('targets: {m: {url: http://h, onwards_key: "ü"}}', "is not allowed in a header"),
        ("targets: {m: {url: http://h, upstream_auth_header_name: 'X Key'}}", "is not a header name"),
        ('targets: {m: {url: http://h, upstream_auth_header_prefix: "\\0"}}', "is not allowed in a header"),
        ("targets: {m: {url: http://h, response_headers: {'a:b': c}}}", "is not a header name"),
        ('targets: {m: {url: http://h, response_headers: {a: "ü"}}}', "is not allowed in a header"),
        ("targets: {m: {url: http://h, response_headers: {Content-Length: 5}}}", "belongs to the connection"),
        ("targets: {m: {url: http://h, response_headers: {A: 5, a: 6}}}", "given twice"),
        ('targets: {m: {url: http://h, keys: ["a b\\n"]}}', "no client could present this key"),
    ],
)
def test_what_fails_on_every_request_in_onwards_is_an_error_here(text: str, message: str) -> None:
    """All weights zero, bytes that no header can hold, no attempts at all."""
    assert message in error(text)


def test_a_drained_provider_beside_an_active_one_is_fine() -> None:
    """Weight 0 drains one member."""
    assert errors("targets: {m: {providers: [{url: http://h, weight: 0}, {url: http://i}]}}") == []


def test_the_credential_is_a_bearer_token_unless_said_otherwise() -> None:
    """A custom header name keeps the prefix unless that is changed too."""
    assert provider("targets: {m: {url: http://h, onwards_key: k}}").credential == (b"Authorization", b"Bearer k")
    text = "targets: {m: {url: http://h, onwards_key: k, upstream_auth_header_name: X-Key}}"
    assert provider(text).credential == (b"X-Key", b"Bearer k")
