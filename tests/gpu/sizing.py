"""`headgate size`'s figures for this very replica, before and after it was calibrated, beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.pool.planner.architecture import architecture_of
from gateway.pool.planner.calibrate import Live, Startup
from gateway.pool.planner.fit import Candidate, Wanted, calibrated, candidates, efficiency_from, usual_machine
from gateway.pool.planner.hardware import gpu_of
from gateway.pool.planner.memory import weights_of
from gateway.pool.planner.quantisation import cache_bytes, format_in
from gateway.pool.planner.rates import USUAL, Efficiency, decode_step, first_token_s


@dataclass(frozen=True)
class Run:
    """What was measured: the load's shape, and what the server said and did under it."""

    callers: int
    prompt_tokens: int
    output_tokens: int
    tokens_per_s: float
    ttft_s: float  # of a prompt that waits for nobody
    startup: Startup
    live: Live


@dataclass(frozen=True)
class Compared:
    """One figure: by formula, after calibration, measured."""

    name: str
    unit: str
    predicted: float
    calibrated: float
    measured: float | None

    def off(self, figure: float) -> str:
        """How far a figure is off what was measured."""
        return "–" if not self.measured else f"{figure / self.measured - 1:+.0%}"


def compare(config: dict[str, Any], gpu: str, utilisation: float, run: Run) -> list[Compared]:
    """Returns the table's rows; raises ValueError where the model does not fit the GPU."""
    model, form = architecture_of(config, "dummy-8b", "config.json"), format_in(config)
    context = run.prompt_tokens + run.output_tokens / 2
    wanted = Wanted(
        model, form, weights_of(model, form), cache_bytes("bf16"), round(context), run.callers, utilisation=utilisation
    )
    good, bad = candidates(wanted, usual_machine(gpu_of(gpu)), 1)
    if not good:
        raise ValueError(bad[0].why)
    before = good[0]
    after = calibrated(before, run.startup, run.live, wanted.context)
    had = efficiency_from(after, run.live, context) or USUAL
    cache_tokens = run.startup.cache_tokens or run.live.cache_tokens
    return [
        Compared(
            "KV memory", "tokens", before.sequences * context, after.sequences * context,
            None if cache_tokens is None else float(cache_tokens),
        ),
        Compared(
            f"output, {run.callers} at once", "tokens/s", _rate(before, run, context, USUAL),
            _rate(after, run, context, had), run.tokens_per_s,
        ),
        Compared(
            f"first token of {run.prompt_tokens:,}", "ms",
            first_token_s(before.replica, run.prompt_tokens) * 1e3,
            first_token_s(after.replica, run.prompt_tokens, had) * 1e3,
            run.ttft_s * 1e3,
        ),
    ]  # fmt: skip


def _rate(candidate: Candidate, run: Run, context: float, efficiency: Efficiency) -> float:
    at_once = min(float(run.callers), candidate.sequences)
    return at_once / decode_step(candidate.replica, at_once, context, efficiency).total_s * efficiency.served
