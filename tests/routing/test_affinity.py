"""Affinity: the key of a conversation, and the provider that it selects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.endpoints import endpoint

from onwards_py.model.policies import Affinity, EjectionPolicy, Strategy
from onwards_py.routing.affinity import key_of, salt_of, score
from onwards_py.routing.balancer import Endpoint, choose
from onwards_py.routing.health import Health

BY_SESSION = Affinity(session=(b"x-session-id", b"x-conversation"))
BY_PROMPT = Affinity(prompt_bytes=16)
KEYS = [b"key %d" % number for number in range(4000)]


def member(name: str, weight: int = 1, in_flight: int = 0, places: int | None = None) -> Endpoint:
    return endpoint(weight, in_flight, places, name=name)


def led(members: list[Endpoint], key: bytes | None, affinity: Affinity = BY_SESSION, now: float = 0.0) -> str:
    chosen = choose(Strategy.PRIORITY, members, lambda: 0.0, now, affinity=affinity, key=key)
    assert chosen is not None
    return chosen.provider.name


# Keys


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ([(b"X-Session-ID", b"a")], b"a"),
        ([(b"x-conversation", b"b"), (b"X-Session-Id", b"a")], b"a"),
        ([(b"x-session-id", b""), (b"X-Conversation", b"b")], b"b"),
        ([(b"x-session-id", b"1"), (b"x-session-id", b"2")], b"1"),
        ([(b"x-other", b"a")], None),
        ([], None),
    ],
)
def test_the_first_session_field_that_is_there_is_the_key(fields: list[tuple[bytes, bytes]], key: bytes | None) -> None:
    """The order is that of the configuration, and names match in any case. An empty field does not count."""
    assert key_of(BY_SESSION, fields, b'{"messages":[]}') == key


def test_without_a_session_field_the_prompt_is_the_key() -> None:
    """This must be configured. A session field takes precedence."""
    both, body = Affinity(session=(b"x-s",), prompt_bytes=16), b'{"messages":[1]}'
    assert key_of(both, [(b"x-s", b"a")], body) == b"a"
    assert key_of(both, [], body) == key_of(BY_PROMPT, [], body) is not None


@pytest.mark.parametrize("name", ["messages", "input", "prompt", "system"])
def test_a_conversation_keeps_its_key_as_it_grows(name: str) -> None:
    """Only the first bytes of the prompt decide."""
    first = b'{"model":"m","%b": [{"content":"You are..."},"hello"]}' % name.encode()
    later = b'{"temperature":1,"%b":[{"content":"You are..."},"hello","hi","more"],"x":2}' % name.encode()
    other = b'{"model":"m","%b": [{"content":"I am......"},"hello"]}' % name.encode()
    assert key_of(BY_PROMPT, [], first) == key_of(BY_PROMPT, [], later) != key_of(BY_PROMPT, [], other)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"model":"messages","role":"system"}', b"\xff\x00", b'["input"]'])
def test_without_a_prompt_there_is_no_key(body: bytes) -> None:
    """A value of that name is no member."""
    assert key_of(BY_PROMPT, [], body) is None


@given(st.binary(max_size=200), st.integers(0, 50))
def test_any_body_gives_a_key_or_none(body: bytes, prompt_bytes: int) -> None:
    """Never an error."""
    key = key_of(Affinity(prompt_bytes=prompt_bytes), [], body)
    assert key is None or len(key) == 16


# Where they lead


def test_a_key_goes_where_it_went_before_in_every_process() -> None:
    """Scores are of nothing but bytes: another process, with another hash seed, finds the same."""
    names = ["a", "b", "c"]
    here = [led([member(name) for name in names], key) for key in KEYS[:20]]
    program = (
        "import test_affinity as t\nprint([t.led([t.member(name) for name in 'abc'], key) for key in t.KEYS[:20]])"
    )
    folders = f"{Path(__file__).parent}:{Path(__file__).parents[1]}"
    for seed in ("1", "2"):
        environment = {"PYTHONPATH": folders, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
        assert done.stdout.decode().strip() == str(here)


def test_a_removed_provider_moves_only_its_own_keys() -> None:
    """The order of the file does not matter."""
    four = [member(name) for name in "abcd"]
    before = [led(four, key) for key in KEYS]
    after = [led([four[3], four[1], four[0]], key) for key in KEYS]
    assert {name for name, then in zip(before, after, strict=True) if name != then} == {"c"}
    assert set(after) == {"a", "b", "d"}


def test_keys_spread_by_weight() -> None:
    """Of 4,000 keys over weights 1, 2 and 5, counted exactly: within four standard deviations of the share."""
    members = [member("a", 1), member("b", 2), member("c", 5)]
    found = [led(members, key) for key in KEYS]
    for one in members:
        share = one.provider.weight / 8
        deviation = (len(KEYS) * share * (1 - share)) ** 0.5
        assert abs(found.count(one.provider.name) - len(KEYS) * share) < 4 * deviation


def test_more_weight_only_draws_keys_to_it() -> None:
    """No key moves between the others."""
    before = [led([member("a"), member("b"), member("c")], key) for key in KEYS]
    after = [led([member("a"), member("b"), member("c", 3)], key) for key in KEYS]
    assert all(then in (name, "c") for name, then in zip(before, after, strict=True))


@given(st.binary(max_size=100), st.text(max_size=50), st.integers(1, 1000))
def test_every_score_is_a_positive_number(key: bytes, identity: str, weight: int) -> None:
    """Whatever the bytes."""
    assert 0.0 < score(key, salt_of(identity), weight) < float("inf")


def test_without_a_key_the_strategy_decides() -> None:
    """And without affinity a key means nothing."""
    members = [member(name) for name in "abcd"]
    assert {led(members, None) for _ in KEYS[:50]} == {"a"}
    chosen = [choose(Strategy.PRIORITY, members, lambda: 0.0, key=key) for key in KEYS[:50]]
    assert chosen == [members[0]] * 50


def test_a_provider_above_its_share_is_skipped() -> None:
    """The limit is 1.25 times a third of the load with this exchange: 4 of 10 are allowed, 5 of 12 are not."""
    key = next(key for key in KEYS if led([member(name) for name in "abc"], key) == "a")
    assert led([member("a", in_flight=4), member("b", in_flight=3), member("c", in_flight=2)], key) == "a"
    assert led([member("a", in_flight=5), member("b", in_flight=3), member("c", in_flight=3)], key) != "a"


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 30)), min_size=2, max_size=6), st.binary(max_size=8))
def test_no_provider_gets_more_than_its_share_while_others_have_less(loads: list[tuple[int, int]], key: bytes) -> None:
    """The bound holds for every choice and every load."""
    members = [member(str(n), weight, in_flight) for n, (weight, in_flight) in enumerate(loads)]
    chosen = choose(Strategy.P2C, members, lambda: 0.0, affinity=BY_SESSION, key=key)
    assert chosen is not None
    everything = sum(in_flight for _, in_flight in loads) + 1
    share = chosen.provider.weight / sum(weight for weight, _ in loads)
    assert chosen.limiter.in_flight < 1.25 * share * everything


def test_a_full_or_ejected_provider_is_skipped_and_gets_its_keys_back() -> None:
    """All requests of one conversation have the same second provider."""
    members = [member(name, places=9) for name in "abc"]
    key = next(key for key in KEYS if led(members, key) == "a")
    second = led(members[1:], key)
    members[0].health = Health(EjectionPolicy(consecutive_failures=1))
    members[0].health.failed(0.0)
    assert led(members, key) == second
    assert led(members, key, now=60.0) == "a"
    busy = Affinity(max_load=100.0)
    members[0].limiter.in_flight = 9
    assert led(members, key, busy, now=60.0) == second
