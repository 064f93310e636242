"""What a pool does next, worked out from what there is: which replicas go, in which slots others are launched."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import msgspec

from gateway.pool.states import Phase

SERVING = (Phase.READY, Phase.SUSPECT)


class Standing(msgspec.Struct, frozen=True):
    """One replica as far as this matters; `hash` is its spec's. `condemned`: its spec has shown to be of no use."""

    name: str
    hash: str
    phase: Phase
    stale: bool = False
    leaving: bool = False
    comes_back: bool = False
    condemned: bool = False

    @property
    def serves(self) -> bool:
        return self.phase in SERVING


class Aim(msgspec.Struct, frozen=True):
    """What a pool shall come to. `drained` slots stay empty; `halted`: what is by another spec may stay.

    `surge`: there is room for one more while others are there still.
    """

    replicas: int
    hash: str
    drained: AbstractSet[str] = frozenset()
    surge: bool = True
    halted: bool = False


class Step(msgspec.Struct, frozen=True):
    """What is done now: who leaves, where others are launched. `halt`: the rollout has shown to be of no use."""

    leave: tuple[str, ...] = ()
    launch: tuple[str, ...] = ()
    halt: bool = False


def next_step(replicas: Sequence[Standing], aim: Aim) -> Step:
    """Returns the next step; an empty one where all is as it shall be, or something has to come first."""
    target = max(0, aim.replicas - len(aim.drained))
    staying = [each for each in replicas if not each.leaving and int(each.name) <= aim.replicas]
    out = [each for each in replicas if not each.leaving and int(each.name) > aim.replicas]
    by_it = [each for each in staying if each.hash == aim.hash and not each.stale]
    old = [each for each in staying if each not in by_it]
    if aim.halted:
        useless = [each for each in by_it if each.condemned]
    else:
        if any(each.condemned for each in by_it) and any(each.serves for each in old):
            return Step(halt=True)
        useless = [each for each in old if not each.serves]
    staying = [each for each in staying if each not in useless]
    old = [] if aim.halted else [each for each in old if each.serves]
    coming = any(not each.serves for each in staying)
    going = [each for each in replicas if each.leaving] + out + useless

    taken = {each.name for each in replicas} | aim.drained
    free = [slot for slot in map(str, range(aim.replicas + 1)) if slot not in taken]
    # What serves nobody is not waited for long: its successor takes its place.
    expected = len(staying) + sum(each.comes_back or not each.serves or not aim.surge for each in going)
    launch = free[: max(0, target - expected)]

    leave = [*out, *useless]
    excess = len(staying) - target
    if excess > 0:
        if old:  # the successor's place is not given up before it serves
            leave += sorted(old, key=_usefulness)[: excess - 1 if coming else excess]
        else:
            leave += sorted(staying, key=_usefulness)[:excess]
    elif old and not coming and not launch and not going:
        if aim.surge and free:
            launch = free[:1]
        else:
            leave.append(min(old, key=_usefulness))
    return Step(tuple(each.name for each in leave), tuple(launch))


def _usefulness(replica: Standing) -> tuple[bool, bool, int]:
    """Orders those that could go: such as serve nobody, then suspects, then the last slots."""
    return replica.serves, replica.phase is Phase.READY, -int(replica.name)
