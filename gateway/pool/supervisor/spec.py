"""What a pool is launched as: the config's word, with nothing left to look up."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from gateway.pool.states import Phase


class Deadlines(msgspec.Struct, frozen=True):
    """How long each phase of a start may take, in seconds."""

    start_s: float = 600.0
    load_s: float = 1800.0
    profile_s: float = 600.0
    capture_s: float = 600.0
    warm_up_s: float = 600.0

    def of(self, phase: Phase) -> float:
        """Returns the deadline of a phase of a start."""
        return {
            Phase.STARTING: self.start_s,
            Phase.LOADING: self.load_s,
            Phase.PROFILING: self.profile_s,
            Phase.CAPTURING: self.capture_s,
            Phase.WARMING: self.warm_up_s,
        }[phase]


class Spec(msgspec.Struct, frozen=True):
    """One pool. `names` are what its replicas answer to; `gpus` of None is one where there are any.

    `env` and `api_key` are secrets: they are in no repr.
    """

    pool: str
    model: str
    names: tuple[str, ...]
    folder: Path
    replicas: int = 1
    gpus: int | None = None
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ("vllm",)
    env: tuple[tuple[str, str], ...] = ()
    api_key: str = ""
    keep: bool = False
    surge: bool = True
    drain_s: float = 30.0
    deadlines: Deadlines = Deadlines()

    def __repr__(self) -> str:
        return f"Spec({self.pool}: {self.replicas} × {self.model}, {self.hash})"

    @property
    def hash(self) -> str:
        """What a process was launched with, in twelve digits: one with another hash has to be replaced."""
        launched = (self.model, self.names, self.gpus, self.args, self.command, self.env, self.api_key, self.drain_s)
        return hashlib.sha256(repr(launched).encode()).hexdigest()[:12]

    @property
    def written(self) -> str:
        """What the config says of the pool, in twelve digits: scaling by hand holds until it changes."""
        return hashlib.sha256(f"{self.hash} {self.replicas}".encode()).hexdigest()[:12]
