"""The wait queue of a limit is first come, first served: no request overtakes another or is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits_world import Caller, World

from onwards_py.limits.counters import Limiter
from onwards_py.limits.wait_queue import Waiter, WaitQueue, run_now
from onwards_py.model.limits import Limits, QueuePolicy, RateLimit

QUEUE = QueuePolicy(max_waiting=3)


def enter(world: World, *limiters: Limiter, estimate: float = 0.0) -> Caller:
    caller = Caller(world, limiters, estimate)
    caller.enter()
    return caller


def states(*callers: Caller) -> list[str]:
    return [caller.state for caller in callers]


def one_place(world: World) -> Limiter:
    return world.limiter(Limits(concurrency=1, queue=QUEUE))


def test_a_released_permit_admits_only_the_head() -> None:
    """Three callers use one permit one after the other."""
    world = World()
    limiter = one_place(world)
    first, second, _ = callers = [enter(world, limiter) for _ in range(3)]
    assert states(*callers) == ["in", "waiting", "waiting"]
    first.leave()
    world.run()
    assert states(*callers) == ["out", "in", "waiting"]
    second.leave()
    world.run()
    assert states(*callers) == ["out", "out", "in"]
    assert limiter.queue is not None
    assert limiter.queue.waiting == 0


def test_a_newcomer_does_not_overtake() -> None:
    """A permit that was returned is reserved for the head of the queue until its next try."""
    world = World()
    limiter = one_place(world)
    holder, waiting = enter(world, limiter), enter(world, limiter)
    holder.leave()
    assert limiter.in_flight == 0
    assert limiter.full
    newcomer = enter(world, limiter)
    world.run()
    assert states(waiting, newcomer) == ["in", "waiting"]


def test_a_queue_has_a_limit() -> None:
    """A caller is refused if the queue is full. A waiting one may join again and keeps its position."""
    world = World()
    limiter = one_place(world)
    callers = [enter(world, limiter) for _ in range(5)]
    assert states(*callers) == ["in", "waiting", "waiting", "waiting", "refused"]
    line = limiter.queue
    assert line is not None
    assert line.enqueue(callers[1].waiter)
    assert line.head is callers[1].waiter
    assert line.waiting == 3
    callers[2].leave()
    assert states(enter(world, limiter)) == ["waiting"]


def test_a_head_that_gives_up_lets_the_next_try() -> None:
    """The head waits for more tokens than there are; the next one needs none."""
    world = World()
    limiter = world.limiter(Limits(tokens=RateLimit(1.0, 100.0), queue=QUEUE))
    enter(world, limiter, estimate=50.0)
    head, small = enter(world, limiter, estimate=90.0), enter(world, limiter, estimate=1.0)
    assert states(head, small) == ["waiting", "waiting"]
    head.leave()
    world.run()
    assert states(head, small) == ["out", "in"]


def test_a_caller_that_waits_for_a_rate_is_admitted_on_time() -> None:
    """The wait is known, so no permit need be released."""
    world = World()
    limiter = world.limiter(Limits(RateLimit(2.0, 1.0), queue=QUEUE))
    callers = [enter(world, limiter) for _ in range(3)]
    world.advance(0.49)
    assert states(*callers) == ["in", "waiting", "waiting"]
    world.advance(0.02)
    assert states(*callers) == ["in", "in", "waiting"]
    world.advance(0.5)
    assert states(*callers) == ["in", "in", "in"]


def test_a_caller_blocked_by_another_limit_does_not_block_this_queue() -> None:
    """It moves to the queue of the limit that blocks it now, and the next one here tries."""
    world = World()
    pool, key = one_place(world), world.limiter(Limits(RateLimit(0.1, 1.0), queue=QUEUE))
    holder = enter(world, pool)
    enter(world, key)  # the key's only request for ten seconds
    slow, quick = enter(world, pool, key), enter(world, pool)
    # Both reasons stand against it: places come first.
    assert slow.waiter.queues == [pool.queue]
    holder.leave()
    world.run()
    assert states(slow, quick) == ["waiting", "in"]
    assert slow.waiter.queues == [key.queue]
    quick.leave()
    world.advance(10.0)
    assert states(slow) == ["in"]


def test_a_caller_may_wait_in_two_queues() -> None:
    """Two providers are busy, and the first that has a permit is used."""
    world = World()
    one, other = one_place(world), one_place(world)
    holders = [enter(world, one), enter(world, other)]
    went_in: list[Limiter] = []

    def wake() -> None:
        went_in.extend(limiter for limiter in (one, other) if not limiter.full)
        if went_in:
            waiter.leave()

    waiter = Waiter(wake)
    for limiter in (one, other):
        assert limiter.queue is not None
        assert limiter.queue.enqueue(waiter)
    holders[1].leave()
    world.run()
    assert went_in == [other]
    assert waiter.queues == []


def test_the_head_of_two_queues_is_admitted_by_both() -> None:
    """It does not block itself, because it is first in each queue."""
    world = World()
    one, other = one_place(world), one_place(world)
    holder = enter(world, one)
    head = enter(world, one, other)
    for limiter in (one, other):
        assert limiter.queue is not None
        assert limiter.queue.enqueue(head.waiter)
    holder.leave()
    world.run()
    assert states(head) == ["in"]


def test_the_head_of_one_queue_does_not_overtake_in_another() -> None:
    """Precedence belongs to one queue."""
    world = World()
    one, other = one_place(world), one_place(world)
    holders = enter(world, one), enter(world, other)
    first_there = enter(world, other)
    both = enter(world, one, other)
    assert both.waiter.queues == [one.queue]
    assert other.queue is not None
    other.queue.enqueue(both.waiter)
    for holder in holders:
        holder.leave()
    world.run()
    assert states(first_there, both) == ["in", "waiting"]
    first_there.leave()
    world.run()
    assert states(both) == ["in"]


def test_many_wakes_cause_one_try() -> None:
    """Many permits may be released within one turn of the loop."""
    scheduled: list[Callable[[], None]] = []
    line = WaitQueue(QUEUE, scheduled.append)
    asked: list[int] = []
    line.wake()
    assert scheduled == []
    line.enqueue(Waiter(lambda: asked.append(1)))
    for _ in range(3):
        line.wake()
    assert len(scheduled) == 1
    scheduled.pop()()
    assert asked == [1]
    line.wake()
    assert len(scheduled) == 1


def test_a_blocked_head_tries_once_and_blocks_the_others() -> None:
    """The released part is not enough, and is kept for the head."""
    line = WaitQueue(QUEUE, run_now)
    asked: list[str] = []
    for name in ("head", "next"):
        line.enqueue(Waiter(lambda name=name: asked.append(name)))  # type: ignore[misc]
    line.wake()
    assert asked == ["head"]


def test_a_caller_that_rejoins_tries_once() -> None:
    """Otherwise two callers would try in turns for ever."""
    line = WaitQueue(QUEUE, run_now)
    asked: list[Waiter] = []

    def stand_again(waiter: Waiter) -> None:
        asked.append(waiter)
        line.leave(waiter)
        line.enqueue(waiter)

    waiters = [Waiter(lambda number=number: stand_again(waiters[number])) for number in range(2)]  # type: ignore[has-type, misc]
    for waiter in waiters:
        line.enqueue(waiter)
    line.wake()
    assert asked == waiters


def test_a_head_that_raises_leaves_no_precedence() -> None:
    """A defect in one caller must not let others overtake."""
    line = WaitQueue(QUEUE, run_now)
    nobody: dict[str, None] = {}
    waiter = Waiter(lambda: nobody["x"])
    line.enqueue(waiter)
    with pytest.raises(KeyError):
        line.wake()
    assert not line.serving_head
    line.leave(waiter)
    assert line.waiting == 0


def test_an_admitted_caller_has_no_precedence() -> None:
    """A further request of it during its turn is that of a newcomer: the next in the queue comes first."""
    world = World()
    limiter = one_place(world)
    holder = enter(world, limiter)
    more: list[Caller] = []

    def give_up_and_come_again() -> None:
        waiter.leave()
        more.append(enter(world, limiter))

    waiter = Waiter(give_up_and_come_again)
    assert limiter.queue is not None
    limiter.queue.enqueue(waiter)
    behind = enter(world, limiter)
    holder.leave()
    world.run()
    assert states(behind, *more) == ["in", "waiting"]


def test_a_raised_limit_admits_waiting_callers() -> None:
    """A reload that raises the limit has effect at once; one that lowers it revokes no permit."""
    world = World()
    limiter = one_place(world)
    callers = [enter(world, limiter) for _ in range(4)]
    limiter.reconfigure(Limits(concurrency=3, queue=QUEUE), world.now)
    world.run()
    assert states(*callers) == ["in", "in", "in", "waiting"]
    limiter.reconfigure(Limits(concurrency=1, queue=QUEUE), world.now)
    callers[0].leave()
    world.run()
    assert (limiter.in_flight, callers[3].state) == (2, "waiting")


def test_a_removed_queue_refuses_its_callers() -> None:
    """`reject` instead of `queue`: waiting requests that are not admitted now are refused at once."""
    world = World()
    limiter = one_place(world)
    callers = [enter(world, limiter) for _ in range(4)]
    limiter.reconfigure(Limits(concurrency=2), world.now)
    world.run()
    assert states(*callers) == ["in", "in", "refused", "refused"]
    assert not limiter.watched


def test_a_line_keeps_its_people_through_a_reload() -> None:
    """With a shorter queue no waiting request is refused, but no other may join."""
    world = World()
    limiter = one_place(world)
    callers = [enter(world, limiter) for _ in range(3)]
    line = limiter.queue
    limiter.reconfigure(Limits(concurrency=1, queue=QueuePolicy(max_waiting=1)), world.now)
    assert limiter.queue is line
    assert states(*callers, enter(world, limiter)) == ["in", "waiting", "waiting", "refused"]


def test_tokens_given_back_let_in_who_waits() -> None:
    """An estimate that was too high is corrected when the answer is known."""
    world = World()
    limiter = world.limiter(Limits(tokens=RateLimit(0.1, 100.0), queue=QUEUE))
    enter(world, limiter, estimate=90.0)
    waiting = enter(world, limiter, estimate=50.0)
    limiter.charge(-10.0)
    world.run()
    assert states(waiting) == ["waiting"]
    limiter.charge(-40.0)
    world.run()
    assert states(waiting) == ["in"]


STEPS = st.lists(st.sampled_from(["enter", "release", "tired", "wait", "run"]), max_size=60)
SOME_LIMITS = st.builds(
    Limits,
    st.none() | st.builds(RateLimit, st.just(2.0), st.integers(1, 3).map(float)),
    st.none() | st.integers(1, 3),
    st.none() | st.just(RateLimit(10.0, 20.0)),
    st.just(QueuePolicy(max_waiting=50)),
)


@given(SOME_LIMITS, STEPS, st.data())
def test_first_come_first_served(limits: Limits, steps: list[str], data: st.DataObject) -> None:
    """Requests are admitted in the order of their arrival, and all are admitted in the end."""
    world = World()
    limiter = world.limiter(limits)
    came: list[Caller] = []
    went_in: list[Caller] = []
    for step in steps:
        some = [caller for caller in came if caller.state == ("waiting" if step == "tired" else "in")]
        if step == "enter":
            came.append(Caller(world, [limiter], float(data.draw(st.integers(0, 30))), went_in))
            came[-1].enter()
        elif step in ("release", "tired") and some:
            data.draw(st.sampled_from(some)).leave()
        elif step == "wait":
            world.advance(0.2)
        elif step == "run":
            world.run()
        assert limits.concurrency is None or limiter.in_flight <= limits.concurrency
    for _ in range(len(came)):
        for caller in came:
            if caller.state == "in":
                caller.leave()
        world.advance(10.0)
    assert went_in == [caller for caller in came if caller in went_in]
    assert [caller.state for caller in came if caller.state not in ("in", "out")] == []
    assert limiter.queue is None or limiter.queue.waiting == 0
