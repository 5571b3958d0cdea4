"""What outlives a reload."""

from __future__ import annotations

from support.targets import snapshot

from onwards_py.auth import Principal
from onwards_py.config.snapshot import Snapshot
from onwards_py.limits.admission import admit, release
from onwards_py.live_state import Holder, LiveState
from onwards_py.routing.table import LivePool

RATE = {"requests_per_second": 0.01, "burst_size": 1}


def targets(*urls: str, **options: object) -> Snapshot:
    return snapshot({"m": {"providers": [{"url": url} for url in urls], **options}})


def pool_of(holder: Holder, name: str = "m") -> LivePool:
    pool = holder.current.table.find(name)
    assert pool is not None
    return pool


def test_counters_follow_a_provider_through_a_reload() -> None:
    """onwards.md 3.1 #118: by place, credential and model; not by position, weight or object."""
    holder = Holder(targets("http://a", "http://b"), LiveState(lambda: 0.0))
    for member, count in zip(pool_of(holder).members, (1, 2), strict=True):
        member.limiter.in_flight = count
    holder.replace(targets("http://b", "http://c", "http://a", strategy="priority"))
    assert [member.limiter.in_flight for member in pool_of(holder).members] == [2, 0, 1]


def test_a_changed_credential_or_model_is_another_provider() -> None:
    """What it did under another account says nothing about this one."""
    holder = Holder(targets("http://a"), LiveState(lambda: 0.0))
    pool_of(holder).members[0].limiter.in_flight = 1
    holder.replace(snapshot({"m": {"providers": [{"url": "http://a", "onwards_key": "sk"}]}}))
    assert pool_of(holder).members[0].limiter.in_flight == 0


def test_twins_are_counted_apart_and_stay_so() -> None:
    """Two members with equal settings are two members."""
    holder = Holder(targets("http://a", "http://a"), LiveState(lambda: 0.0))
    first, second = pool_of(holder).members
    first.limiter.in_flight = 1
    assert second.limiter.in_flight == 0
    holder.replace(targets("http://a", "http://a"))
    assert [member.limiter.in_flight for member in pool_of(holder).members] == [1, 0]


def test_a_permit_from_before_a_reload_is_given_back_to_the_same_counter() -> None:
    """An exchange holds the limiter it was admitted by; the new table counts with the same."""
    holder = Holder(targets("http://a", concurrency_limit={"max_concurrent_requests": 1}), LiveState(lambda: 0.0))
    held = [pool_of(holder).limiter]
    admit(held, 0.0)
    holder.replace(targets("http://a", concurrency_limit={"max_concurrent_requests": 2}))
    assert pool_of(holder).limiter.in_flight == 1
    assert not pool_of(holder).limiter.full
    release(held)
    assert pool_of(holder).limiter.in_flight == 0


def test_a_reload_is_no_refill() -> None:
    """B10: an unchanged rate limit keeps what was spent; a changed one begins anew."""
    holder = Holder(targets("http://a", rate_limit=RATE), LiveState(lambda: 0.0))
    admit([pool_of(holder).limiter], 0.0)
    holder.replace(targets("http://b", rate_limit=RATE))
    bucket = pool_of(holder).limiter.bucket
    assert bucket is not None
    assert bucket.wait_for(1.0, 0.0) > 0
    holder.replace(targets("http://b", rate_limit={**RATE, "burst_size": 2}))
    bucket = pool_of(holder).limiter.bucket
    assert bucket is not None
    assert bucket.wait_for(1.0, 0.0) == 0


def test_limits_of_keys_survive_too() -> None:
    """By the key's id."""

    def with_key(token: str) -> Snapshot:
        auth = {"key_definitions": {"a": {"key": token, "rate_limit": RATE}}}
        return snapshot({"m": {"url": "http://a", "keys": ["a"]}}, auth=auth)

    def key_bucket_wait(holder: Holder) -> float:
        (digest,) = holder.current.snapshot.key_definitions
        limiter = holder.current.table.resolve("m", Principal(digest)).limiters[1]
        assert limiter.bucket is not None
        wait = limiter.bucket.wait_for(1.0, 0.0)
        if not wait:
            admit([limiter], 0.0)
        return wait

    holder = Holder(with_key("sk-1"), LiveState(lambda: 0.0))
    assert key_bucket_wait(holder) == 0
    holder.replace(with_key("sk-2"))
    assert key_bucket_wait(holder) > 0


def test_who_left_and_comes_back_while_busy_is_still_busy() -> None:
    """A provider taken out while a stream runs, and put back, has that stream on its account."""
    holder = Holder(targets("http://a", "http://b"), LiveState(lambda: 0.0))
    busy = pool_of(holder).members[0].limiter
    busy.in_flight = 1
    holder.replace(targets("http://b"))
    holder.replace(targets("http://a", "http://b"))
    assert pool_of(holder).members[0].limiter is busy


def test_who_left_idle_is_forgotten() -> None:
    """Memory follows the configuration, not its history."""
    state = LiveState(lambda: 0.0)
    holder = Holder(targets("http://a", "http://b"), state)
    for number in range(20):
        holder.replace(targets(f"http://h{number}"))
    assert len(state._limiters) == 2  # the pool and its one provider


def test_an_exchange_keeps_the_generation_it_began_with() -> None:
    """``current`` is replaced, never changed."""
    holder = Holder(targets("http://a"), LiveState(lambda: 0.0))
    before = holder.current
    holder.replace(targets("http://b"))
    assert before.snapshot.pools["m"].providers[0].host == b"a"
    assert holder.current.snapshot.pools["m"].providers[0].host == b"b"
