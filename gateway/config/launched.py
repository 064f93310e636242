"""A pool that is launched and supervised here, as written: what runs, how often, on how many GPUs, how it may end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import prod
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from gateway.config.document import Path
from gateway.config.secret import Secret
from gateway.config.section import Section
from gateway.config.units import Duration, Unit

# Flags of `vllm serve` that the launcher sets itself, or that would take the server out of its hands: where it listens,
# what it answers to, how it ends, who it belongs to (https://docs.vllm.ai/en/stable/cli/serve/, 2026-11).
OWNED: Final[Mapping[str, str]] = {
    "model": "write it as `model`",
    "served-model-name": "the deployments' `model` say it",
    "host": "replicas listen on loopback",
    "port": "the launcher chooses it",
    "uds": "the launcher chooses where replicas listen",
    "api-key": "write the provider's `api_key`",
    "root-path": "replicas are asked at their root",
    "ssl-keyfile": "replicas listen on loopback, in clear",
    "ssl-certfile": "replicas listen on loopback, in clear",
    "shutdown-timeout": "`drain_grace` says it",
    "config": "write its flags here",
    "headless": "a replica is one server on this machine",
    "nnodes": "a replica is one server on this machine",
    "node-rank": "a replica is one server on this machine",
    "data-parallel-multi-port-external-lb": "replicas are ended one by one",
    "help": "replicas serve",
}
_PARALLEL: Final = {
    "tensor-parallel-size": "tensor-parallel-size",
    "tp": "tensor-parallel-size",
    "pipeline-parallel-size": "pipeline-parallel-size",
    "pp": "pipeline-parallel-size",
    "data-parallel-size": "data-parallel-size",
    "dp": "data-parallel-size",
}
# What the launcher says to its replicas in the environment.
_OWNED_ENVIRONMENT: Final = ("VLLM_API_KEY", "HEADGATE_REPLICA")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _variable(value: object) -> str:
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ValueError("the name of an environment variable is wanted, such as HF_TOKEN")
    return value


class StartDeadlines(Section):
    """How long each phase of a replica's start may take; one that takes longer is ended, and tried again."""

    start: Duration = Field(default=600.0, gt=0, description="Until the weights begin to load.")
    load: Duration = Field(default=1800.0, gt=0, description="Until they are loaded; a first download counts.")
    profile: Duration = Field(default=600.0, gt=0, description="Until the size of the KV cache is known.")
    capture: Duration = Field(default=600.0, gt=0, description="Until CUDA graphs are captured and the server answers.")
    warm_up: Duration = Field(default=600.0, gt=0, description="Until its first two prompts are answered.")


class LaunchedPool(Section):
    """Replicas of vLLM that the gateway launches and supervises on its own machine."""

    model: str = Field(min_length=1, description="What `vllm serve` is given: a model of the hub, or a folder.")
    replicas: int = Field(default=1, ge=0, le=64, description="How many run.")
    gpus_per_replica: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="GPUs for each replica; more than one are shared out by tensor parallelism, unless `args` say "
        "otherwise. Not set: what `args` say or one, on a machine where NVML shows any. 0: none are chosen for it.",
    )
    args: list[str] = Field(default=[], description="Further flags of `vllm serve`, each word an item of its own.")
    command: list[str] = Field(
        default=["vllm"], min_length=1, description="The program that is run, with `serve` and the flags after it."
    )
    env: dict[Annotated[str, BeforeValidator(_variable), Unit("variable")], Secret] = Field(
        default={}, description="Further variables of its environment; shown to nobody."
    )
    on_exit: Literal["stop", "keep"] = Field(
        default="stop",
        description="What becomes of replicas when the gateway is told to end. `keep`: they serve on, and the next one "
        "takes them over, as it does after a crash.",
    )
    surge: bool = Field(
        default=True,
        description="Replacing one by one, a new replica is started before an old one goes, where there is room (GPUs "
        "that are free). `false`: the old one goes first.",
    )
    state_dir: str = Field(
        default="pool",
        min_length=1,
        description="Where their state and their output are kept, from the working folder.",
    )
    drain_grace: Duration = Field(
        default=30.0, gt=0, description="How long calls under way may go on when a replica is taken out."
    )
    deadlines: StartDeadlines = Field(default=StartDeadlines(), description="Of the phases of a start.")

    @property
    def gpus(self) -> int | None:
        """How many GPUs each replica is given; None: one where there are any."""
        return self.gpus_per_replica if self.gpus_per_replica is not None else self.parallel

    @property
    def parallel(self) -> int | None:
        """How many GPUs `args` spread a replica over, or None where they do not say."""
        sizes = _sizes(self.args)
        return prod(sizes.values()) if sizes else None


def _sizes(args: list[str]) -> dict[str, int]:
    """Reads the sizes of parallelism out of flags; what is no number is vLLM's to refuse."""
    sizes = {}
    for index, argument in enumerate(args):
        name, equals, value = argument.lstrip("-").replace("_", "-").partition("=")
        if argument.startswith("-") and name in _PARALLEL:
            value = value if equals else args[index + 1] if index + 1 < len(args) else ""
            if value.isdecimal():
                sizes[_PARALLEL[name]] = int(value)
    return sizes


def problems(path: Path, name: str, pool: LaunchedPool, models: list[str]) -> Iterator[tuple[Path, str]]:
    """Yields what refuses the pool of a provider, whose deployments stand for `models`."""
    if not models:
        yield path, f"no deployment stands at provider {name!r}: the launcher would not know what to serve it as"
    if pool.args and not pool.args[0].startswith("-"):
        yield (*path, "args", 0), f"{pool.args[0]!r} is no flag: the model is written as `model`"
    for index, argument in enumerate(pool.args):
        flag = argument.partition("=")[0].removeprefix("--").replace("_", "-")
        # argparse takes the beginning of a flag for the whole
        owned = next((each for each in OWNED if argument.startswith("--") and flag and each.startswith(flag)), None)
        if owned is not None:
            yield (*path, "args", index), f"--{owned} is set by the launcher: {OWNED[owned]}"
    for variable in pool.env:
        if variable in _OWNED_ENVIRONMENT or (variable == "CUDA_VISIBLE_DEVICES" and pool.gpus_per_replica != 0):
            why = "; `gpus_per_replica: 0` leaves it to you" if variable == "CUDA_VISIBLE_DEVICES" else ""
            yield (*path, "env", variable), f"{variable} is set by the launcher{why}"
    if pool.parallel is not None and pool.gpus_per_replica and pool.parallel != pool.gpus_per_replica:
        told = " × ".join(f"--{flag} {size}" for flag, size in _sizes(pool.args).items())
        yield (*path, "gpus_per_replica"), f"`args` take {pool.parallel} GPUs ({told}), and this says otherwise"
