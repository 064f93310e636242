"""What GPUs of one's own cost, and how fast they are: what a pool's price is made of."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from gateway.config.section import Section
from gateway.config.units import Usd


class Throughput(Section):
    """What one replica does, as it was measured: tokens a second, each as if it did nothing else."""

    input: float = Field(gt=0, le=1e9, description="Prompt tokens a second.")
    output: float = Field(gt=0, le=1e9, description="Output tokens a second, of all sequences that run at once.")
    at_once: int | None = Field(
        default=None,
        ge=1,
        description="Sequences that it works on at once. Not set, calls in flight say nothing of its load.",
    )


class OwnGpus(Section):
    """Settings of `vllm`: the price of a pool."""

    gpu_hour_usd: Usd | None = Field(
        default=None,
        description="For `vllm`: what an hour of one GPU costs. Deployments without a `price` are then charged by what "
        "a replica does in an hour, and ranked by what one more token costs (docs/pool-price.md).",
    )
    gpus: int | None = Field(default=None, ge=1, le=4096, description="For `vllm`: GPUs of one replica. Default 1.")
    gpu: str | None = Field(
        default=None,
        min_length=1,
        description="For `vllm`: which GPU it is, as `headgate size` names it (h100, l4, …): what the price is "
        "estimated by until it is measured.",
    )
    throughput: Throughput | None = Field(
        default=None, description="For `vllm`: what a replica does, in place of the estimate and of measurements."
    )
    target_load: float | None = Field(
        default=None,
        ge=0.05,
        le=1,
        description="For `vllm`: how busy replicas shall be; beyond, a further one would have to start. Default 0.65.",
    )
    spare_usd: Usd | None = Field(
        default=None,
        description="For `vllm`: dollars of a million more output tokens while GPUs run anyway, power and egress. "
        "Default 0.0125: 250 B a token at $0.05 a GB.",
    )


OWN_GPUS: Final = frozenset(OwnGpus.model_fields)
