"""What is said of a pool's replicas, and what may be done to them: the words that all parts of the pool share."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec


class Phase(StrEnum):
    """Where in its life a replica is.

    pending ─▶ starting ─▶ loading ─▶ profiling ─▶ capturing ─▶ warming ─▶ ready ◀─▶ suspect
       ▲                                                                     │
       │                                              draining ◀─────────────┤
       └── backoff ◀─ (an exit that may pass)            └─▶ stopping ─▶ stopped
                      (one that will not) ─▶ failed

    Only what is `ready` gets calls.
    """

    PENDING = "pending"  # waits for a GPU, for memory to come back, or for its turn
    STARTING = "starting"  # the process is there; its engine is not
    LOADING = "loading"
    PROFILING = "profiling"
    CAPTURING = "capturing"
    WARMING = "warming"  # it answers; its first prompts compile what they need
    READY = "ready"
    SUSPECT = "suspect"  # no new calls, until it is cleared or replaced
    DRAINING = "draining"  # no new calls; those under way go on
    STOPPING = "stopping"
    BACKOFF = "backoff"
    FAILED = "failed"  # until its config changes or somebody restarts it
    STOPPED = "stopped"


class ReplicaView(msgspec.Struct, frozen=True):
    """A replica as an operator sees it. `since_at` is in seconds since the epoch; `progress` of a start is 0 to 1."""

    pool: str
    name: str  # its slot: "0", "1", …
    phase: Phase
    why: str
    since_at: float
    pid: int | None
    address: str
    gpus: tuple[str, ...]
    progress: float | None
    eta_s: float | None
    restarts: int
    in_flight: int
    config_hash: str
    adopted: bool


class Control(Protocol):
    """What can be asked of launched pools. Names that there are not raise UnknownReplica."""

    def pools(self) -> list[str]:
        """Returns the providers whose replicas are launched here."""
        ...

    def status(self) -> list[ReplicaView]:
        """Returns every replica, by pool and slot."""
        ...

    def logs(self, pool: str, replica: str, lines: int) -> list[str]:
        """Returns the last lines that a replica has said."""
        ...

    async def drain(self, pool: str, replica: str) -> None:
        """Takes a replica out: no new calls, those under way go on, then it is stopped, and stays so."""
        ...

    async def restart(self, pool: str, replica: str | None) -> None:
        """Drains a replica and starts it anew; all of them, one at a time, where none is named."""
        ...

    async def scale(self, pool: str, replicas: int) -> None:
        """Has so many replicas, until the config says another number."""
        ...

    def suspect(self, pool: str, replica: str, why: str) -> None:
        """Sends it no new calls."""
        ...

    def cleared(self, pool: str, replica: str) -> None:
        """Takes a suspicion back."""
        ...

    async def replace(self, pool: str, replica: str, why: str) -> None:
        """Ends a replica that is of no use (SIGTERM, SIGKILL after the grace), and starts it anew."""
        ...


class UnknownReplica(LookupError):
    """There is no pool or replica of this name; says which there are."""


class Events(Protocol):
    """Where it is told what befell replicas: a bounded ring, the log, counters."""

    def tell(self, pool: str, replica: str, what: str, why: str = "", **facts: object) -> None:
        """Notes one event; `what` is one word of a closed list."""
        ...
