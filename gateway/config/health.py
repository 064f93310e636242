"""How a pool's replicas are watched, as written."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.config.section import Section
from gateway.config.units import Duration


class Health(Section):
    """For `vllm`: when a replica is doubted, and what follows."""

    interval: Duration = Field(default=5.0, gt=0, description="Between two looks at a replica's `/health`.")
    timeout: Duration = Field(default=5.0, gt=0, description="After which a look counts as missed.")
    misses: int = Field(
        default=3, ge=1, description="Looks missed in a row that make it suspect, unless it takes steps meanwhile."
    )
    progress: Duration = Field(
        default=60.0,
        gt=0,
        description="How long an engine with work may take no step; longer than its longest step, a full batch of "
        "prompts.",
    )
    canary: Duration = Field(
        default=30.0, gt=0, description="How long a suspect may take for the one token that it is asked for."
    )
    on_hang: Literal["replace", "bar", "flag"] = Field(
        default="replace",
        description="What follows where it is lost: `replace` one that was launched here (one that was found is "
        "barred, and tried until it answers), `bar` it in either case, or only tell (`flag`).",
    )
    drift: float = Field(
        default=1.5, gt=1, description="How many times its usual time per token a replica may take, at the same load."
    )
    drift_samples: int = Field(
        default=60, ge=3, le=600, description="Seconds at that load, now and before, that it takes to say so."
    )
    on_drift: Literal["flag", "drain"] = Field(
        default="flag", description="What follows: only tell, or send it no calls while another replica is ready."
    )
    on_device_error: Literal["show", "drain"] = Field(
        default="show",
        description="What follows an error of a GPU (uncorrected memory, Xid) under a replica that was launched here.",
    )
