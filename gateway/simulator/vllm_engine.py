"""A modelled engine run by the clock: when answers begin and how fast they come depends on what else is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.simulator.answers import BYTES_PER_TOKEN
from gateway.simulator.replica import Engine, Hardware, Sequence


class Driver:
    """Tells when each request's turn has come. `frozen` engines do nothing, as a hung one that still says 200."""

    def __init__(self, hardware: Hardware) -> None:
        self.engine = Engine(hardware)
        self._frozen = False
        self._waits: dict[Sequence, tuple[Callable[[], None], bool]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._lost_s = 0.0  # how long it stood still
        self._stood_at = 0.0

    @property
    def frozen(self) -> bool:
        return self._frozen

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        now = asyncio.get_running_loop().time()
        if frozen and not self._frozen:
            self._tick()
            self._stood_at = now
        elif self._frozen and not frozen:
            self._lost_s += now - self._stood_at
        self._frozen = frozen
        self._plan()

    @property
    def pace_s(self) -> float:
        """How long the step under way takes: what stands between two tokens of an answer."""
        return self.engine.step_lasts_s

    def submit(self, sequence: Sequence, ready: Callable[[], None], *, whole: bool) -> None:
        """Queues a request; `ready` is called at its first token, or at its last where it is wanted `whole`."""
        self._tick()
        self._waits[sequence] = ready, whole
        self.engine.add(sequence, self._now())
        self._plan()

    def leave(self, sequence: Sequence) -> None:
        """Ends a request: its answer has left, or its reader has."""
        self._waits.pop(sequence, None)
        self.engine.abort(sequence)

    def withdraw(self, sequence: Sequence) -> bool:
        """Takes a request back whose turn has not come; returns whether it had not."""
        return self._waits.pop(sequence, None) is not None

    def close(self) -> None:
        """Stops the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _now(self) -> float:
        now = self._stood_at if self._frozen else asyncio.get_running_loop().time()
        return now - self._lost_s

    def _tick(self) -> None:
        for event in [] if self._frozen else self.engine.advance(self._now()):
            waits = self._waits.get(event.sequence)
            if waits is not None and event.what == ("finished" if waits[1] else "first"):
                del self._waits[event.sequence]
                waits[0]()

    def _run(self) -> None:
        self._timer = None
        self._tick()
        self._plan()

    def _plan(self) -> None:
        self.close()
        if self.engine.ends_at is not None and not self._frozen:
            self._timer = asyncio.get_running_loop().call_at(self.engine.ends_at + self._lost_s, self._run)


def blocks_of(prompt: str, salt: str, block_tokens: int) -> tuple[int, ...]:
    """Returns the chained hashes of a prompt's whole blocks; a salt keeps them apart from all others'."""
    data = prompt.encode("utf-8", "replace")
    size = block_tokens * BYTES_PER_TOKEN
    parent = hash(salt) if salt else 0
    blocks = []
    for at in range(0, len(data) - size + 1, size):
        parent = hash((parent, data[at : at + size]))
        blocks.append(parent)
    return tuple(blocks)
