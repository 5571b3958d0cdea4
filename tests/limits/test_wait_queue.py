"""The wait queue of a limit: first come, first served; no request overtakes another or is forgotten."""

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


def test_a_permit_that_comes_back_lets_the_head_in_and_nobody_else() -> None:
    """One place, three callers: one after the other."""
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


def test_a_line_has_an_end() -> None:
    """Who finds it full is refused; who stands in it may join again and keeps its place."""
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


def test_a_head_that_gives_up_makes_way() -> None:
    """The head waits for more tokens than there are; the one behind it needs none."""
    world = World()
    limiter = world.limiter(Limits(tokens=RateLimit(1.0, 100.0), queue=QUEUE))
    enter(world, limiter, estimate=50.0)
    head, small = enter(world, limiter, estimate=90.0), enter(world, limiter, estimate=1.0)
    assert states(head, small) == ["waiting", "waiting"]
    head.leave()
    world.run()
    assert states(head, small) == ["out", "in"]


def test_who_waits_for_a_rate_goes_in_when_it_was_told() -> None:
    """The wait is known: no permit need come back."""
    world = World()
    limiter = world.limiter(Limits(RateLimit(2.0, 1.0), queue=QUEUE))
    callers = [enter(world, limiter) for _ in range(3)]
    world.advance(0.49)
    assert states(*callers) == ["in", "waiting", "waiting"]
    world.advance(0.02)
    assert states(*callers) == ["in", "in", "waiting"]
    world.advance(0.5)
    assert states(*callers) == ["in", "in", "in"]


def test_who_is_blocked_elsewhere_holds_nobody_up_here() -> None:
    """It goes over to the line of what blocks it now, and the next here is asked."""
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


def test_one_may_stand_in_two_lines_and_goes_in_by_either() -> None:
    """Two providers, both busy: whichever has a place first."""
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


def test_a_head_in_two_lines_may_go_through_both() -> None:
    """It does not stand in its own way: neither line has anybody before it."""
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


def test_who_is_first_in_one_line_does_not_overtake_in_another() -> None:
    """The right of way is that of a line."""
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


def test_any_number_of_wakes_ask_once() -> None:
    """Many permits may come back within one turn of the loop."""
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


def test_a_head_that_is_still_blocked_is_asked_once_and_nobody_after_it() -> None:
    """What has come free was not enough; it is kept for the head."""
    line = WaitQueue(QUEUE, run_now)
    asked: list[str] = []
    for name in ("head", "next"):
        line.enqueue(Waiter(lambda name=name: asked.append(name)))  # type: ignore[misc]
    line.wake()
    assert asked == ["head"]


def test_who_leaves_and_stands_at_the_end_again_is_asked_once() -> None:
    """Else two of them would be asked in turns for ever."""
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


def test_a_head_that_fails_leaves_no_right_of_way_behind() -> None:
    """A defect in one caller must not open the line to others."""
    line = WaitQueue(QUEUE, run_now)
    nobody: dict[str, None] = {}
    waiter = Waiter(lambda: nobody["x"])
    line.enqueue(waiter)
    with pytest.raises(KeyError):
        line.wake()
    assert not line.serving_head
    line.leave(waiter)
    assert line.waiting == 0


def test_who_has_gone_in_has_no_right_of_way_any_more() -> None:
    """What it does next, while its turn lasts, is what any newcomer does: the next in line comes before."""
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


def test_a_raised_limit_lets_in_who_waits() -> None:
    """A reload that raises the limit has effect at once; one that lowers it takes no permit away."""
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


def test_a_line_that_is_abolished_refuses_who_waits_in_it() -> None:
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
