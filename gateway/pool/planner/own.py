"""What a deployment on one's own GPUs costs a token: from the GPU-hour and what a replica does in one.

A speed is the planner's estimate, or the config's word, or the estimate corrected by what was measured: the factor by
which a replica at work did more or less than its estimate says.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from gateway.core.money import Rates
from gateway.pool.planner.fit import Wanted, candidates, usual_machine
from gateway.pool.planner.hardware import gpu_of
from gateway.pool.planner.known import known
from gateway.pool.planner.memory import weights_of
from gateway.pool.planner.price import Pool, Terms, marginal_usd, token_price
from gateway.pool.planner.quantisation import UnknownWord, cache_bytes
from gateway.pool.planner.question import ASSUMED
from gateway.pool.planner.rates import USUAL
from gateway.pool.planner.report import capacity_of

Source = Literal["estimate", "throughput", "measured"]


class Speed(msgspec.Struct, frozen=True):
    """What one replica does: prompt and output tokens a second, each as if it did nothing else.

    `at_once` is how many sequences it then works on; 0 where nobody knows.
    """

    prefill: float
    decode: float
    at_once: float = 0.0
    source: Source = "estimate"

    def times(self, factor: float) -> Speed:
        """Returns the speed as it was measured: so many times the estimate, in and out alike."""
        return Speed(self.prefill * factor, self.decode * factor, self.at_once, "measured")

    def work(self, fresh: float, output: float) -> float:
        """Returns the seconds of one replica that so many tokens take."""
        return fresh / self.prefill + output / self.decode


class Hour(msgspec.Struct, frozen=True):
    """What an hour of a replica costs: dollars of a GPU and how many; `target` is how busy it shall be.

    `spare_usd` are the dollars of a million more output tokens while replicas run anyway: power and egress.
    """

    gpu_usd: float
    gpus: int
    target: float
    spare_usd: float

    @property
    def usd(self) -> float:
        """Dollars of one replica's hour."""
        return self.gpu_usd * self.gpus


# Of rented GPUs an output token costs its way out: 250 B at $0.05 a GB.
SPARE_USD: Final = marginal_usd(gpu_of("h100"), 1, 0.0, "rented", Terms())


def estimated(model: str, gpu: str, gpus: int) -> Speed:
    """Estimates a replica of a model that `headgate size` knows, on so many GPUs; raises UnknownWord.

    Calls are taken to have 1,000 tokens in and 300 out; weights are those that are published, the KV cache in bf16.
    """
    architecture, form = known(model)
    wanted = Wanted(architecture, form, weights_of(architecture, form), cache_bytes("bf16"))
    machine = usual_machine(gpu_of(gpu))
    good, bad = candidates(wanted, machine, gpus)
    best = next((each for each in good if each.replica.layout.gpus == gpus), None)
    if best is None:
        why = next((each.why for each in bad if each.layout.gpus == gpus), "no layout takes exactly so many")
        raise UnknownWord(f"{model} does not run on {gpus}×{machine.gpu.label}: {why}")
    capacity = capacity_of(best, wanted, ASSUMED, USUAL)
    return Speed(capacity.prefill, capacity.decode, capacity.sequences)


def rates_of(hour: Hour, speed: Speed) -> tuple[Rates, Rates] | None:
    """Returns the full rates and those of one more token while there is room; None of a replica that does nothing.

    Full: hour / (3600 · tokens a second · target), in and out by the time each takes; a cached token takes no prefill.
    """
    price = token_price(Pool(hour.usd, speed.prefill, speed.decode, target=hour.target, marginal_usd=hour.spare_usd))
    spare, full = price.rates(), msgspec.structs.replace(price, charged="full").rates()
    if spare is None or full is None:
        return None
    # One more token costs no more than a whole replica's does, whatever power and egress are said to be.
    into, out = min(spare.fresh_input, full.fresh_input), min(spare.output_text, full.output_text)
    return Rates(full.fresh_input, into, output_text=full.output_text), Rates(into, into, output_text=out)
