"""A hundred thousand short sequences of faults, departures, reloads and outages, drawn at random: the laws hold."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from gateway.simulator import Fault
from tests.storms.places import Trouble
from tests.storms.steps import FAULTS, Ask, Calm, Reload, Step, sequences
from tests.storms.storm import Storm

SEQUENCES: Final = int(os.environ.get("HEADGATE_STORM", "2000"))
SEED: Final = int(os.environ.get("HEADGATE_STORM_SEED", "2026"))
A_BATCH: Final = 500  # sequences before one gateway: then it is looked at for what it still holds


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: what a disk takes to sync is no part of a storm."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as made:
        yield Path(made)


class Storms:
    """One storm after another: a sequence that broke a law leaves a gateway that is good for no other."""

    def __init__(self, folder: Path) -> None:
        self.happened: Counter[str] = Counter()
        self._folder = folder
        self._begun = 0
        self._storm: Storm | None = None
        self._loop = uvloop.new_event_loop()

    def play(self, steps: list[Step]) -> None:
        """Plays one sequence."""
        try:
            if self._storm is None:
                self._begun += 1
                folder = self._folder / str(self._begun)
                folder.mkdir()
                self._storm = self._loop.run_until_complete(Storm(folder).__aenter__())
            self._loop.run_until_complete(self._storm.play(steps))
        except BaseException as broken:
            broken.add_note(f"in the storm {steps}")
            self.end()
            raise

    def end(self) -> None:
        """Takes the gateway down."""
        storm, self._storm = self._storm, None
        if storm is not None:
            self.happened += storm.happened
            self._loop.run_until_complete(storm.__aexit__())

    def check_memory(self) -> None:
        """Fails where anything of a call is still held; what asks replicas how they are just now is over soon."""
        if self._storm is not None:
            self._loop.run_until_complete(self._storm.check_memory())

    def close(self) -> None:
        """Ends everything."""
        self.end()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@pytest.fixture
def storms(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storms]:
    """Storms whose deadlines are short, and so are the sweeps by which they are noticed."""
    monkeypatch.setattr("gateway.upstream.http1._SWEEP_S", 0.005)
    monkeypatch.setattr("gateway.door.server.SWEEP_EVERY_S", 0.02)
    monkeypatch.setattr("gateway.relay.DRAIN_S", 0.02)
    with closing(Storms(folder)) as storms:
        yield storms


@pytest.mark.parametrize("batch", range(-(-SEQUENCES // A_BATCH)))
def test_the_laws_hold_in_any_storm(batch: int, storms: Storms) -> None:
    @seed(SEED * 1_000_003 + batch)
    @settings(
        max_examples=min(A_BATCH, SEQUENCES - batch * A_BATCH),
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,  # a sequence says shorter itself what it was
    )
    @given(sequences)
    def play(steps: list[Step]) -> None:
        storms.play(steps)

    play()
    storms.check_memory()
    storms.end()
    happened = storms.happened
    print(f"\nseed {SEED}, batch {batch}: {dict(happened.most_common())}")
    if (batch + 1) * A_BATCH <= SEQUENCES:  # a storm that hits nothing shows nothing
        assert len(happened.keys() & FAULTS) > len(FAULTS) * 2 // 3
        for end in ("whole", "failed", "hit", "left", "refused"):
            assert any(end in each for each in happened), end


# Sequences that broke a law once, made as short as they would go.
BROKEN_ONCE: Final[Mapping[str, list[Step]]] = {
    "a reload overtaken by one that had read the file before it": [
        Reload("calm", "untrue"),
        Reload("calm"),
        Reload("moved"),
        Calm(),
        Reload("turned", "untrue"),
    ],
    "a failure without a code, told to a twin and booked without a reason": [
        Ask("own", twin=2, tokens=12, filler_bytes=6000, troubles=(Trouble(Fault("400")),)),
        Ask("own", twin=2, tokens=12, filler_bytes=6000),
    ],
}


@pytest.mark.parametrize("steps", BROKEN_ONCE.values(), ids=BROKEN_ONCE.keys())
def test_what_broke_a_law_once_breaks_none_now(steps: list[Step], storms: Storms) -> None:
    for _ in range(5):
        storms.play(steps)
