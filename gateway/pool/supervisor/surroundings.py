"""What the supervisor is given: the way to a replica, to the router's members, and to whoever wants to hear of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from gateway.core.types import Origin
from gateway.pool.states import Events
from gateway.pool.supervisor.gpus import Gpus


class Question(msgspec.Struct, frozen=True):
    """One request to a replica. `key` is what it asks callers for, or nothing."""

    origin: Origin
    path: str
    body: bytes | None = None
    within_s: float = 2.0
    key: str = ""


# Returns status and body, or None where no answer came in time.
Ask = Callable[[Question], Awaitable[tuple[int, bytes] | None]]


class Members(Protocol):
    """Who gets calls: the routers' side of it. `replica` is an origin."""

    def bar(self, pool: str, replica: str, why: str, ready_at: float | None = None) -> None: ...

    def admit(self, pool: str, replica: str, models: frozenset[str] | None = None) -> None: ...


class Pace(msgspec.Struct, frozen=True):
    """How long is waited, in seconds.

    `back_off_s` after a first failure; `gently_s` from SIGTERM to SIGKILL, where nothing is left to finish; `death_s`
    for a server whose engine is dead: vLLM's ends by itself after some 5 s.
    """

    back_off_s: float = 1.0
    gently_s: float = 10.0
    death_s: float = 10.0


class Surroundings(msgspec.Struct, frozen=True):
    """Made once for all pools of a process. `in_flight` counts the calls that are under way at an origin."""

    ask: Ask
    members: Members
    in_flight: Callable[[Origin], int]
    events: Events
    gpus: Gpus
    environ: Mapping[str, str]
    pace: Pace = Pace()
