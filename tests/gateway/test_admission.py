"""Who may go upstream, who waits, who is shed."""

from __future__ import annotations

import asyncio
import random

import pytest

from gateway.admission import Admission, Limits
from gateway.core.errors import Overloaded


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Crowd:
    """Callers who enter an admission and write down the order in which they got in."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.order: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def arrive(self, name: str, deployment: str = "d", **how: object) -> None:
        async def enter() -> None:
            await self.admission.enter(deployment, **how)  # type: ignore[arg-type]
            self.order.append(name)

        self.tasks[name] = asyncio.create_task(enter())
        await settle()

    async def leave(self, deployment: str = "d", times: int = 1) -> None:
        for _ in range(times):
            self.admission.leave(deployment)
            await settle()


def full(deployment: str = "d", **limits: object) -> Admission:
    admission = Admission(Limits(in_flight=1, **limits))  # type: ignore[arg-type]
    assert admission.try_enter(deployment)
    return admission


def test_there_is_room_up_to_the_bounds_overall_and_by_deployment() -> None:
    admission = Admission(Limits(in_flight=3, deployments={"a": 1}))
    assert admission.try_enter("a")
    assert not admission.try_enter("a")
    assert admission.try_enter("b")
    assert admission.try_enter("b")
    assert not admission.try_enter("c")
    admission.leave("a")
    assert admission.try_enter("a")
    assert admission.in_flight == {"a": 1, "b": 2}


async def test_with_room_entering_does_not_wait() -> None:
    admission = Admission(Limits(in_flight=1))
    entering = admission.enter("d")
    with pytest.raises(StopIteration):
        entering.send(None)
    assert admission.total == 1


async def test_higher_priority_first_and_earlier_deadlines_within_a_tenant() -> None:
    admission = full()
    crowd, now = Crowd(admission), asyncio.get_running_loop().time()
    await crowd.arrive("late", deadline=now + 90)
    await crowd.arrive("early", deadline=now + 60)
    await crowd.arrive("urgent", priority=5)
    await crowd.arrive("idle", priority=-1, deadline=now + 30)
    await crowd.leave(times=4)
    assert crowd.order == ["urgent", "early", "late", "idle"]


async def test_tenants_take_turns_however_many_calls_one_of_them_has_waiting() -> None:
    admission = full()
    crowd = Crowd(admission)
    for number in range(4):
        await crowd.arrive(f"loud {number}", tenant="loud")
    await crowd.arrive("quiet 0", tenant="quiet")
    await crowd.arrive("quiet 1", tenant="quiet")
    await crowd.leave(times=6)
    assert crowd.order == ["loud 0", "quiet 0", "loud 1", "quiet 1", "loud 2", "loud 3"]


async def test_a_full_deployment_does_not_hold_up_the_others() -> None:
    admission = Admission(Limits(in_flight=2, deployments={"a": 1}))
    crowd = Crowd(admission)
    assert admission.try_enter("a")
    assert admission.try_enter("b")
    await crowd.arrive("for a", "a", priority=9)
    await crowd.arrive("for b", "b")
    await crowd.leave("b")
    assert crowd.order == ["for b"]
    await crowd.leave("a")
    assert crowd.order == ["for b", "for a"]


async def test_nobody_overtakes_a_waiter_who_could_use_the_slot() -> None:
    admission = full()
    crowd = Crowd(admission)
    await crowd.arrive("first")
    admission.leave("d")
    assert not admission.try_enter("d")
    await settle()
    assert crowd.order == ["first"]


async def test_a_full_queue_sheds_at_once_with_a_wait() -> None:
    admission = full(queue=1)
    crowd = Crowd(admission)
    await crowd.arrive("first")
    with pytest.raises(Overloaded, match="full") as shed:
        await admission.enter("d")
    assert shed.value.status == 503
    assert shed.value.retry_after_s is not None
    assert shed.value.retry_after_s >= 1.0
    await crowd.leave()
    assert crowd.order == ["first"]


async def test_a_higher_priority_displaces_the_last_of_a_lower_one_from_a_full_queue() -> None:
    admission = full(queue=2)
    crowd, now = Crowd(admission), asyncio.get_running_loop().time()
    await crowd.arrive("low early", deadline=now + 60)
    await crowd.arrive("low late", deadline=now + 90)
    await crowd.arrive("high", priority=1)
    with pytest.raises(Overloaded, match="higher priority"):
        await crowd.tasks["low late"]
    assert admission.waiting == 2
    await crowd.leave(times=2)
    assert crowd.order == ["high", "low early"]
    assert (admission.waiting, admission.total) == (0, 1)


async def test_the_queues_bound_on_waiting_and_the_deadline_both_hold() -> None:
    loop = asyncio.get_running_loop()
    for queue_wait_s, left_s in [(0.02, 60.0), (60.0, 0.02)]:
        admission, before = full(queue_wait_s=queue_wait_s), loop.time()
        with pytest.raises(Overloaded, match="in time"):
            await admission.enter("d", deadline=before + left_s)
        assert loop.time() - before < 15
        assert (admission.waiting, admission.total) == (0, 1)
    with pytest.raises(Overloaded):
        await full().enter("d", deadline=loop.time() - 1)


async def test_a_call_that_the_queues_pace_cannot_serve_in_time_is_shed_at_once() -> None:
    admission, loop = full(), asyncio.get_running_loop()
    crowd = Crowd(admission)
    for number in range(6):
        await crowd.arrive(f"waiter {number}", tenant="t")
    for _ in range(3):
        await asyncio.sleep(0.03)
        await crowd.leave()
    before = loop.time()
    entering = admission.enter("d", tenant="t", deadline=before + 0.05)
    with pytest.raises(Overloaded, match="longer than the call can wait"):
        entering.send(None)
    await crowd.arrive("patient", tenant="t", deadline=before + 60)
    await crowd.leave(times=4)
    assert "patient" in crowd.order


async def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    admission = full()
    crowd = Crowd(admission)
    await crowd.arrive("first")
    crowd.tasks["first"].cancel()
    await settle()
    assert (admission.waiting, admission.total) == (0, 1)


async def test_a_waiter_cancelled_just_as_it_is_given_a_slot_gives_it_back() -> None:
    admission = full()
    crowd = Crowd(admission)
    await crowd.arrive("first")
    await crowd.arrive("second")
    admission.leave("d")
    crowd.tasks["first"].cancel()
    await settle()
    assert crowd.order == ["second"]
    assert (admission.waiting, admission.total) == (0, 1)


async def test_new_bounds_let_waiters_in() -> None:
    admission = full()
    crowd = Crowd(admission)
    await crowd.arrive("first")
    admission.apply(Limits(in_flight=2))
    await settle()
    assert crowd.order == ["first"]


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_bounds_hold_and_no_slot_is_lost(seed: int) -> None:
    dice = random.Random(seed)
    limits = Limits(in_flight=5, queue=20, queue_wait_s=0.01, deployments={"a": 2})
    admission = Admission(limits)
    inside = {"a": 0, "b": 0}

    async def visit() -> None:
        deployment = dice.choice("ab")
        await admission.enter(deployment, tenant=dice.choice("xyz"), priority=dice.randrange(3))
        try:
            inside[deployment] += 1
            assert inside["a"] <= 2
            assert sum(inside.values()) <= 5
            await asyncio.sleep(dice.random() * 0.004)
        finally:
            inside[deployment] -= 1
            admission.leave(deployment)

    tasks = []
    for _ in range(200):
        tasks.append(asyncio.create_task(visit()))
        if dice.random() < 0.5:
            await asyncio.sleep(dice.random() * 0.001)
        if dice.random() < 0.2:
            dice.choice(tasks).cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(end is None or isinstance(end, (Overloaded, asyncio.CancelledError)) for end in ends), ends
    assert any(end is None for end in ends)
    assert (admission.total, admission.waiting) == (0, 0)
    assert not admission._lines
