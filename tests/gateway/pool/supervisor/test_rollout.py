"""What a pool does next, by table; and that by any way it comes to what it aims at."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pool.states import Phase
from gateway.pool.supervisor.rollout import Aim, Standing, Step, next_step

NEW, OLD = "new", "old"


def ready(name: int, hash: str = NEW, **more: bool) -> Standing:
    return Standing(str(name), hash, Phase.READY, **more)


def loading(name: int, hash: str = NEW, **more: bool) -> Standing:
    return Standing(str(name), hash, Phase.LOADING, **more)


def aim(replicas: int = 2, **more: object) -> Aim:
    return msgspec.convert({"replicas": replicas, "hash": NEW, **more}, Aim)


CASES = {
    "nothing is there": ([], aim(), Step(launch=("0", "1"))),
    "all is as it shall be": ([ready(0), ready(1)], aim(), Step()),
    "one is missing": ([ready(1)], aim(), Step(launch=("0",))),
    "one is out of range": ([ready(0), ready(1), ready(3)], aim(), Step(leave=("3",))),
    "one more than wanted": ([ready(0), ready(1), ready(2)], aim(), Step(leave=("2",))),
    "the one that serves nobody goes first": ([loading(0), ready(1), ready(2)], aim(), Step(leave=("0",))),
    "nobody is wanted": ([ready(0)], aim(0), Step(leave=("0",))),
    "a drained slot stays empty": ([ready(0)], aim(drained=["1"]), Step()),
    "an old one is succeeded": ([ready(0, OLD), ready(1)], aim(), Step(launch=("2",))),
    "a suspect goes before others": (
        [Standing("0", OLD, Phase.SUSPECT), ready(1, OLD)],
        aim(surge=False),
        Step(leave=("0",)),
    ),
    "the successor is waited for": ([ready(0, OLD), ready(1, OLD), loading(2)], aim(), Step()),
    "it serves, so the old one goes": ([ready(0, OLD), ready(1, OLD), ready(2)], aim(), Step(leave=("1",))),
    "one that goes is waited for": ([ready(0, OLD), ready(1, OLD, leaving=True), ready(2)], aim(), Step()),
    "without surge the old one goes first": ([ready(0, OLD), ready(1, OLD)], aim(surge=False), Step(leave=("1",))),
    "and is gone before another comes": (
        [ready(0, OLD), Standing("1", OLD, Phase.STOPPING, leaving=True)],
        aim(surge=False),
        Step(),
    ),
    "an old one that serves nobody goes at once": ([ready(0, OLD), loading(1, OLD)], aim(), Step(leave=("1",))),
    "a successor of no use stops it": (
        [ready(0, OLD), ready(1, OLD), Standing("2", NEW, Phase.FAILED, condemned=True)],
        aim(),
        Step(halt=True),
    ),
    "then it goes and the old ones stay": (
        [ready(0, OLD), ready(1, OLD), Standing("2", NEW, Phase.FAILED, condemned=True)],
        aim(halted=True),
        Step(leave=("2",)),
    ),
    "one that comes back is not replaced": (
        [ready(0), Standing("1", NEW, Phase.DRAINING, leaving=True, comes_back=True)],
        aim(),
        Step(),
    ),
    "one that failed stays until somebody looks": (
        [ready(0), Standing("1", NEW, Phase.FAILED, condemned=True)],
        aim(),
        Step(),
    ),
    "fewer in the middle of a rollout": ([ready(0, OLD), ready(1, OLD), loading(2)], aim(1), Step(leave=("2", "1"))),
}


@pytest.mark.parametrize("case", CASES)
def test_the_next_step(case: str) -> None:
    replicas, aimed, step = CASES[case]
    assert next_step(replicas, aimed) == step


@given(
    st.lists(
        st.tuples(st.sampled_from([NEW, OLD]), st.sampled_from([Phase.READY, Phase.LOADING, Phase.FAILED])), max_size=6
    ),
    st.integers(0, 5),
    st.booleans(),
)
def test_by_any_way_it_comes_to_what_it_aims_at_and_never_serves_with_less_than_it_must(
    before: list[tuple[str, Phase]], wanted: int, surge: bool
) -> None:
    """What is launched becomes ready a step later, what leaves is gone a step later; no new one has failed."""
    before = [(hash, Phase.LOADING if (hash, phase) == (NEW, Phase.FAILED) else phase) for hash, phase in before]
    replicas = {str(name): Standing(str(name), hash, phase) for name, (hash, phase) in enumerate(before)}
    aimed = Aim(wanted, NEW, surge=surge)
    serving = sum(each.serves for each in replicas.values())
    for _ in range(60):
        for name, each in list(replicas.items()):
            if each.leaving:
                del replicas[name]
            elif each.phase is Phase.LOADING:
                replicas[name] = Standing(name, each.hash, Phase.READY)
        step = next_step(list(replicas.values()), aimed)
        if step == Step():
            break
        for name in step.leave:
            replicas[name] = msgspec.structs.replace(replicas[name], leaving=True)
        for name in step.launch:
            assert name not in replicas
            replicas[name] = Standing(name, NEW, Phase.LOADING)
        now = sum(each.serves and not each.leaving for each in replicas.values())
        assert now >= min(serving, wanted) - (0 if surge else 1)
        serving = max(now, min(serving, wanted))
        assert len(replicas) <= max(len(before), wanted + 1)
    else:
        raise AssertionError("it does not come to an end")
    assert len(replicas) == wanted
    assert all(each.hash == NEW for each in replicas.values())
    assert not step.halt
