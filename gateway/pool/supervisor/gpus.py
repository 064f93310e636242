"""Which GPUs a replica is given: free ones, near to one another, that no other replica of ours holds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from itertools import combinations
from typing import Any, Final

import msgspec

# How far two GPUs are from one another: NVML's levels, NVLink nearer than any of them.
NVLINK: Final = -1
FARTHEST: Final = 50  # NVML_TOPOLOGY_SYSTEM: over the link between two sockets
MEMORY_SHARE: Final = 0.92  # vLLM's --gpu-memory-utilization, unless `args` say another (0.9 before 0.33)
_GROUPS: Final = 20_000  # of so many the nearest is looked for: 16 GPUs have 12,870 groups of eight

Pair = frozenset[str]


class Gpu(msgspec.Struct, frozen=True):
    """One GPU as NVML shows it; `index` is NVML's, which is that of the PCI bus. Memory in bytes."""

    index: str
    name: str
    total: int
    free: int


class Facts(msgspec.Struct, frozen=True):
    """The GPUs of a machine, and how far those of each pair are from one another."""

    gpus: tuple[Gpu, ...] = ()
    distances: Mapping[Pair, int] = {}

    def distance(self, one: str, other: str) -> int:
        """Returns how far two are apart; what is not known is far."""
        return self.distances.get(frozenset((one, other)), FARTHEST)


def choose(facts: Facts, count: int, held: AbstractSet[str], share: float) -> tuple[str, ...] | None:
    """Returns so many GPUs, or None where there are not enough that nobody holds.

    One is free when `share` of its memory is (what vLLM will ask for). Of all groups that one is chosen whose worst
    link is best, then all its links; then the one whose GPUs have the fewest near ones left outside, so that single
    replicas do not break up groups; then the first.
    """
    free = [gpu.index for gpu in facts.gpus if gpu.index not in held and gpu.free >= share * gpu.total]
    if len(free) < count:
        return None
    best: tuple[tuple[int, ...], tuple[str, ...]] | None = None
    for number, group in enumerate(combinations(free, count)):
        if number > _GROUPS:
            break
        links = [facts.distance(one, other) for one, other in combinations(group, 2)]
        broken = sum(FARTHEST - facts.distance(one, other) for one in group for other in free if other not in group)
        rank = (max(links, default=0), sum(links), broken)
        if best is None or rank < best[0]:
            best = rank, group
    return best[1] if best is not None else None


def memory_share(args: tuple[str, ...]) -> float:
    """Returns the share of a GPU's memory that vLLM will ask for."""
    for index, argument in enumerate(args):
        name, equals, value = argument.lstrip("-").replace("_", "-").partition("=")
        if name == "gpu-memory-utilization":
            try:
                return min(1.0, float(value if equals else args[index + 1]))
            except (ValueError, IndexError):  # vLLM's to refuse
                break
    return MEMORY_SHARE


def read(visible: str | None = None) -> Facts:
    """Asks NVML; without it, or where it does not answer, there are no GPUs.

    `visible` is the gateway's own CUDA_VISIBLE_DEVICES: others are not touched.
    """
    try:
        import pynvml
    except ImportError:
        return Facts()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return Facts()
    try:
        return _read(pynvml, visible)
    except pynvml.NVMLError:
        return Facts()
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _read(nvml: Any, visible: str | None) -> Facts:
    wanted = None if visible is None else {each.strip() for each in visible.split(",")}
    handles: dict[str, Any] = {}
    gpus = []
    for number in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(number)
        index, uuid = str(number), str(nvml.nvmlDeviceGetUUID(handle))
        if wanted is not None and not any(index == each or (each and uuid.startswith(each)) for each in wanted):
            continue
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        handles[index] = handle
        gpus.append(Gpu(index, str(nvml.nvmlDeviceGetName(handle)), int(memory.total), int(memory.free)))
    pairs = combinations(handles, 2)
    return Facts(tuple(gpus), {frozenset(pair): _distance(nvml, handles[pair[0]], handles[pair[1]]) for pair in pairs})


def _distance(nvml: Any, one: Any, other: Any) -> int:
    with suppress(nvml.NVMLError):
        status = nvml.nvmlDeviceGetP2PStatus(one, other, nvml.NVML_P2P_CAPS_INDEX_NVLINK)
        if status == nvml.NVML_P2P_STATUS_OK:
            return NVLINK
    with suppress(nvml.NVMLError):
        return int(nvml.nvmlDeviceGetTopologyCommonAncestor(one, other))
    return FARTHEST


class Gpus:
    """The GPUs of this machine and who of ours holds them; one for all pools of a process."""

    def __init__(self, visible: str | None = None) -> None:
        self.shown = 0  # how many there were at the last look
        self._visible = visible
        self._held: dict[str, str] = {}  # by index: which replica
        self._turn = asyncio.Lock()

    async def count(self, wanted: int | None) -> int:
        """Returns how many a replica gets that asks for so many: None is one where there are any."""
        return wanted if wanted is not None else min(1, len((await self._facts()).gpus))

    async def take(self, replica: str, count: int, share: float) -> tuple[str, ...] | None:
        """Gives a replica so many GPUs, until it lets them go; None where they are not to be had now."""
        if not count:
            return ()
        async with self._turn:
            facts = await self._facts()
            self.shown = len(facts.gpus)
            chosen = choose(facts, count, self._held.keys(), share)
            self.hold(replica, chosen or ())
            return chosen

    async def room(self, count: int, share: float) -> bool:
        """Says whether so many could be had now."""
        return not count or choose(await self._facts(), count, self._held.keys(), share) is not None

    def hold(self, replica: str, indexes: Sequence[str]) -> None:
        """Notes what a replica holds that was there already."""
        self._held.update(dict.fromkeys(indexes, replica))

    def release(self, replica: str) -> None:
        """Takes back what a replica held."""
        self._held = {index: holder for index, holder in self._held.items() if holder != replica}

    async def _facts(self) -> Facts:
        return await asyncio.to_thread(read, self._visible)
