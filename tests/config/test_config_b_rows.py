"""Each defect of Onwards that concerns the file, by its number in the list of them, and what happens here instead.

Those that concern requests have their tests where requests are tested: B14 in tests/scenarios/test_access.py, B58 in
tests/scenarios/test_routing_rules.py. Of B13, switching metrics off is left out: they have a port of their own.
"""

from __future__ import annotations

from hashlib import sha256

import pytest
from config_helpers import error, errors, loaded, pool, provider

from onwards_py.limits.admission import admit, attempt, release
from onwards_py.live_state import Holder, LiveState
from onwards_py.model.limits import RateLimit
from onwards_py.model.provider import Mode

LIMITED = """
auth: {key_definitions: {a: {key: k, rate_limit: {requests_per_minute: 1}}}}
targets:
  m:
    rate_limit: {requests_per_minute: 1}
    providers: [{url: http://h, rate_limit: {requests_per_minute: 1}}]
  n: {url: http://%s}
"""


def test_b10_a_reload_refills_no_bucket_whose_limit_is_as_it_was() -> None:
    """Of a target, a provider and a key, whatever else changed in the file."""
    holder = Holder(loaded(LIMITED % "old").snapshot, LiveState(lambda: 0.0))
    target = holder.current.table.find("m")
    assert target is not None
    before = [target.limiter, target.members[0].limiter]
    admit(before, 0.0)
    release(before)
    holder.replace(loaded(LIMITED % "new").snapshot)
    target = holder.current.table.find("m")
    assert target is not None
    for limiter in (target.limiter, target.members[0].limiter):
        assert attempt([limiter], 0.0) is not None


def test_b11_headers_and_mode_of_a_pool_apply_to_its_providers() -> None:
    """And a provider overrides them."""
    text = """
targets:
  m:
    response_headers: {X-A: pool}
    open_responses: {adapter: true}
    providers: [{url: http://a}, {url: http://b, response_headers: {X-A: own}, open_responses_mode: native}]
"""
    first, second = pool(text).providers
    assert (first.response_fields, first.mode) == (((b"X-A", b"pool"),), Mode.TRANSLATE)
    assert (second.response_fields, second.mode) == (((b"X-A", b"own"),), Mode.NATIVE)


def test_b12_an_id_in_a_list_of_keys_means_the_definition() -> None:
    """And a word that could mean two keys is an error."""
    text = (
        "auth: {key_definitions: {basic_user: {key: sk-user-12345}}}\ntargets: {m: {url: http://h, keys: [basic_user]}}"
    )
    assert pool(text).keys == {sha256(b"sk-user-12345").digest()}
    both = "auth: {key_definitions: {a: {key: b}, b: {key: c}}}\ntargets: {m: {url: http://h, keys: [b]}}"
    assert "is also the id of another key definition" in error(both)


def test_b13_documented_files_load() -> None:
    """Rates with a fraction, and ``auth`` without ``global_keys``."""
    text = """{
      "auth": {"key_definitions": {"slow": {"key": "s1", "rate_limit": {"requests_per_second": 5.0, "burst_size": 10}},
                                   "few": {"key": "s2", "concurrency_limit": {"max_concurrent_requests": 2}}}},
      "targets": {"m": {"url": "https://api.example.com", "keys": ["slow", "few"]}}
    }"""
    slow, few = loaded(text).snapshot.key_definitions.values()
    assert slow.limits.rate == RateLimit(5.0, 10.0)
    assert few.limits.concurrency == 2


@pytest.mark.parametrize(
    "target", ["{url: http://h, weight: 0}", "{providers: [{url: http://h, weight: 0}, {url: http://i, weight: 0}]}"]
)
def test_b18_weights_that_are_all_zero_are_an_error(target: str) -> None:
    """Instead of 429 for every request."""
    assert "every weight is 0" in error(f"targets: {{m: {target}}}")


@pytest.mark.parametrize(
    "text",
    ['onwards_key: "a\\r\\nX: y"', 'onwards_key: "ü"', 'onwards_key: "a\\0"', "upstream_auth_header_name: 'X Key'"],
)
def test_b21_what_no_header_can_hold_is_an_error(text: str) -> None:
    """Instead of a panic on each request."""
    assert len(errors(f"targets: {{m: {{url: http://h, {text}}}}}")) == 1
    assert provider("targets: {m: {url: http://h, onwards_key: 'a b', upstream_auth_header_name: X-Key}}").credential


def test_b22_no_attempts_at_all_is_an_error() -> None:
    """Instead of 429 for every request."""
    text = "targets: {m: {providers: [{url: http://h}], fallback: {enabled: true, max_attempts: 0}}}"
    assert error(text).endswith("fallback.max_attempts: must be at least 1")
