"""Which GPUs a replica is given, by the facts of machines."""

from __future__ import annotations

import sys
from itertools import combinations

import pytest

from gateway.pool.supervisor.gpus import NVLINK, Facts, Gpu, Gpus, choose, memory_share, read

GIB = 2**30


def machine(count: int, near: list[set[int]] | None = None, used: dict[int, int] | None = None) -> Facts:
    """Returns so many GPUs of 80 GiB; those of a set in `near` have NVLink among them, others a PCI host bridge."""
    gpus = tuple(
        Gpu(str(number), "H100", 80 * GIB, (80 - (used or {}).get(number, 1)) * GIB) for number in range(count)
    )
    distances = {
        frozenset((str(one), str(other))): NVLINK if any({one, other} <= each for each in near or []) else 30
        for one, other in combinations(range(count), 2)
    }
    return Facts(gpus, distances)


@pytest.mark.parametrize(
    ("facts", "count", "held", "chosen"),
    [
        (machine(2), 1, set(), ("0",)),
        (machine(2), 1, {"0"}, ("1",)),
        (machine(2, used={0: 20}), 1, set(), ("1",)),
        (machine(2), 3, set(), None),
        (machine(2, used={0: 20, 1: 20}), 1, set(), None),
        (machine(4, near=[{1, 2}]), 2, set(), ("1", "2")),
        (machine(4, near=[{0, 1}, {2, 3}]), 2, {"0"}, ("2", "3")),
        (machine(8, near=[{0, 2, 4, 6}, {1, 3, 5, 7}]), 4, set(), ("0", "2", "4", "6")),
        (machine(8, near=[{0, 2, 4, 6}, {1, 3, 5, 7}]), 4, {"4"}, ("1", "3", "5", "7")),
        # One that has no near ones, so that the pair stays whole for others.
        (machine(3, near=[{0, 1}]), 1, set(), ("2",)),
        (machine(0), 1, set(), None),
    ],
)
def test_the_nearest_that_are_free(facts: Facts, count: int, held: set[str], chosen: tuple[str, ...] | None) -> None:
    assert choose(facts, count, held, 0.92) == chosen


def test_unknown_links_are_far() -> None:
    assert Facts().distance("0", "1") == 50


@pytest.mark.parametrize(
    ("args", "share"),
    [
        ((), 0.92),
        (("--gpu-memory-utilization", "0.5"), 0.5),
        (("--gpu_memory_utilization=0.3",), 0.3),
        (("--gpu-memory-utilization", "much"), 0.92),
        (("--gpu-memory-utilization",), 0.92),
    ],
)
def test_as_much_memory_is_wanted_as_vllm_will_ask_for(args: tuple[str, ...], share: float) -> None:
    assert memory_share(args) == share


class Given(Gpus):
    async def _facts(self) -> Facts:
        return machine(2)


async def test_none_is_given_twice_and_what_is_given_back_is_there_again() -> None:
    gpus = Given()
    assert (await gpus.count(None), await gpus.count(0), await gpus.count(2)) == (1, 0, 2)
    assert await gpus.take("pool/0", 1, 0.92) == ("0",)
    assert await gpus.take("pool/1", 1, 0.92) == ("1",)
    assert (await gpus.take("pool/2", 1, 0.92), await gpus.room(1, 0.92)) == (None, False)
    gpus.release("pool/0")
    assert await gpus.room(1, 0.92)
    gpus.hold("pool/3", ("0",))
    assert await gpus.take("pool/2", 1, 0.92) is None
    assert await gpus.take("pool/2", 0, 0.92) == ()


def test_a_machine_without_nvml_has_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as where it is not installed
    assert read() == Facts()


def test_where_the_driver_is_not_there_there_are_no_gpus() -> None:
    pynvml = pytest.importorskip("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert read() == Facts()
    else:
        pynvml.nvmlShutdown()
        assert read().gpus
        assert not read("none of them").gpus
