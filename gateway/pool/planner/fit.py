"""Which layouts of some GPUs hold a model with its sequences, which is best, and how many GPUs it takes at least."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gateway.pool.planner.architecture import Architecture
from gateway.pool.planner.calibrate import Live, Startup
from gateway.pool.planner.figures import GIB
from gateway.pool.planner.hardware import GPUS, Gpu, link_of
from gateway.pool.planner.layout import Layout, Refusal, layouts, refused
from gateway.pool.planner.memory import Budget, Overhead, Weights, budget_of, engine_for, weights_of
from gateway.pool.planner.quantisation import FORMATS, Format
from gateway.pool.planner.rates import (
    CEILING,
    USUAL,
    Efficiency,
    Machine,
    Replica,
    decode_step,
    largest_batch,
    link_refusal,
)


class Wanted(msgspec.Struct, frozen=True):
    """What has to fit: a model in formats, so many sequences of so many tokens at once, a token within `tpot_s`."""

    model: Architecture
    format: Format
    weights: Weights
    value_bytes: float
    context: int = 4096
    concurrency: int = 32
    tpot_s: float = 0.05
    utilisation: float = 0.92


class Candidate(msgspec.Struct, frozen=True):
    """A layout that holds the model: its budget, how often it stands on the GPUs, and what all of it decodes.

    `batch` is what each replica runs at once: what its KV holds, cut where a token would take longer than wanted,
    but not below its share of the sequences asked for (`slow`: a token then takes longer).
    """

    replica: Replica
    budget: Budget
    replicas: int
    sequences: float
    batch: int
    tpot_s: float
    slow: bool

    @property
    def rate(self) -> float:
        """Output tokens a second of all replicas."""
        return self.replicas * self.batch / self.tpot_s

    @property
    def room(self) -> float:
        """Sequences of all replicas at once."""
        return self.replicas * self.sequences


def candidates(
    wanted: Wanted, machine: Machine, count: int, efficiency: Efficiency = USUAL
) -> tuple[list[Candidate], list[Refusal]]:
    """Judges every layout of up to `count` GPUs; the best come first, and of each refused one the reason."""
    found: list[Candidate] = []
    refusals: list[Refusal] = []
    for layout in layouts(wanted.model, count, machine.node):
        judged = judge(wanted, machine, layout, count // layout.gpus, efficiency)
        if isinstance(judged, Refusal):
            refusals.append(judged)
        else:
            found.append(judged)
    found.sort(key=lambda each: (each.room >= wanted.concurrency, not each.slow, each.rate, -each.tpot_s), reverse=True)
    return found, refusals


def judge(
    wanted: Wanted, machine: Machine, layout: Layout, replicas: int, efficiency: Efficiency = USUAL
) -> Candidate | Refusal:
    """Says how a layout does, or why it is not taken."""
    refusal = refused(wanted.model, wanted.format, layout)
    if refusal:
        return refusal
    engine = engine_for(machine.gpu, wanted.utilisation)
    budget = budget_of(wanted.model, wanted.weights, wanted.value_bytes, machine.gpu, layout, engine)
    sequences = budget.sequences(wanted.context)
    if sequences < 1:
        return Refusal(layout, "memory", _too_little(wanted, budget))
    replica = Replica(wanted.model, wanted.format, wanted.weights, wanted.value_bytes, machine, layout, engine)
    most = min(sequences, engine.sequences)
    refusal = link_refusal(replica, min(most, max(1, wanted.concurrency // replicas)), wanted.context)
    if refusal:
        return refusal
    batch = largest_batch(replica, wanted.context, most, wanted.tpot_s, efficiency)
    batch = max(batch, min(int(most), math.ceil(wanted.concurrency / replicas)))
    tpot = decode_step(replica, batch, wanted.context, efficiency).total_s
    return Candidate(replica, budget, replicas, sequences, batch, tpot, tpot > wanted.tpot_s)


def _too_little(wanted: Wanted, budget: Budget) -> str:
    held = f"weights {budget.weights / GIB:.1f} and {budget.overhead.total / GIB:.1f} GiB beside them"
    room = f"{budget.usable / GIB:.1f} GiB usable a GPU"
    if budget.cache <= 0:
        return f"{held} are more than {room}"
    one = budget.per_gpu.sequence(wanted.context) / GIB
    return f"{held} leave {budget.cache / GIB:.2f} of {room}; one sequence of {wanted.context:,} tokens takes {one:.2f}"


SIZES: Final = (1, 2, 4, 8, 16, 32)
COLUMNS: Final = ("a100", "h100", "h200", "b200", "mi300x", "l40s", "l4", "a10g")
ROWS: Final = ("fp32", "fp16", "fp8", "int8", "int4")


class Cell(msgspec.Struct, frozen=True):
    """How many GPUs of a kind hold a model in a format: for one sequence, and for all wanted; None where 32 do not."""

    gpu: str
    one: int | None
    all: int | None
    layout: str = ""


class Row(msgspec.Struct, frozen=True):
    """A format, the bytes of its weights, and what it takes of each kind of GPU."""

    format: str
    nominal: float
    weights: float
    cells: tuple[Cell, ...]


def usual_machine(gpu: Gpu) -> Machine:
    """Nodes of eight, joined by 400 Gb/s."""
    return Machine(gpu, gpu.link, link_of("400g"))


def fewest(wanted: Wanted, machine: Machine) -> Candidate | None:
    """Returns the least of 1, 2, 4, 8, 16, 32 GPUs that hold all sequences wanted, in the layout that is fastest."""
    for count in SIZES:
        found = [
            each
            for layout in layouts(wanted.model, count, machine.node)
            if layout.gpus == count and isinstance(each := judge(wanted, machine, layout, 1), Candidate)
        ]
        enough = [each for each in found if each.sequences >= wanted.concurrency]
        if enough:
            return max(enough, key=lambda each: (not each.slow, each.rate))
    return None


def matrix(
    wanted: Wanted, nominal: dict[str, float], columns: Sequence[str] = COLUMNS, rows: Iterable[str] = ROWS
) -> list[Row]:
    """Answers "does it fit, on what": every format on every kind of GPU."""
    made = []
    for name in rows:
        form = FORMATS[name]
        weights = weights_of(wanted.model, form)
        each = msgspec.structs.replace(wanted, format=form, weights=weights)
        made.append(Row(name, nominal[name], weights.total, tuple(_cell(each, GPUS[gpu]) for gpu in columns)))
    return made


def _cell(wanted: Wanted, gpu: Gpu) -> Cell:
    machine = usual_machine(gpu)
    one, most = fewest(msgspec.structs.replace(wanted, concurrency=1), machine), fewest(wanted, machine)
    return Cell(
        gpu.name,
        None if one is None else one.replica.layout.gpus,
        None if most is None else most.replica.layout.gpus,
        "" if most is None else most.replica.layout.name,
    )


def calibrated(best: Candidate, startup: Startup | None, live: Live | None, context: int) -> Candidate:
    """Puts what a log and metrics measured in place of the formulas' figures, in the same layout."""
    budget, measured = best.budget, set[str]()
    startup, live = startup or Startup(), live or Live()
    usable, weights, overhead = budget.usable, budget.weights, budget.overhead
    if startup.memory and startup.utilisation:
        usable = startup.memory * startup.utilisation * GIB
        measured.add("usable")
    if startup.weights:
        weights = startup.weights * GIB
        measured.add("weights")
    if startup.activation is not None:
        context_bytes = overhead.context
        if startup.consumed and startup.weights:
            context_bytes = max(0.0, startup.consumed - startup.weights) * GIB
            measured.add("context")
        overhead = Overhead(context_bytes, startup.activation * GIB, overhead.graphs)
        measured.add("activation")
    if startup.graphs is not None:
        overhead = Overhead(overhead.context, overhead.activation, startup.graphs * GIB)
        measured.add("graphs")
    cache = None
    if startup.cache is not None:
        cache = startup.cache * GIB
        measured.add("cache")
    budget = Budget(usable, weights, overhead, budget.per_gpu, budget.layout, cache, frozenset(measured))
    sequences = budget.sequences(context)
    if startup.cache_tokens:
        sequences = startup.cache_tokens / context
        if startup.concurrency and startup.concurrency_tokens and startup.concurrency_tokens <= context:
            sequences = startup.concurrency * startup.concurrency_tokens / context
    elif live.cache_tokens:
        sequences = live.cache_tokens / context
    if startup.cache_tokens or live.cache_tokens:
        measured.add("tokens")
    budget = msgspec.structs.replace(budget, measured=frozenset(measured))
    return msgspec.structs.replace(best, budget=budget, sequences=sequences)


def nearest(found: Sequence[Candidate], startup: Startup) -> Candidate | None:
    """Returns the layout whose weights on a GPU come closest to what a log says was loaded on one."""
    if startup.weights is None or not found:
        return None
    loaded = startup.weights * GIB
    return min(found, key=lambda each: (abs(each.budget.weights / loaded - 1), -each.rate))


def efficiency_from(best: Candidate, live: Live, context: float) -> Efficiency | None:
    """Works out how much of the data sheet's bandwidth is had: the ceiling's step over the measured time per token."""
    if not live.tpot_s or not live.running or live.running < 1:
        return None
    ceiling = decode_step(best.replica, max(1.0, live.running), context, CEILING)
    had = ceiling.memory_s / max(1e-9, live.tpot_s - ceiling.link_s)
    # what was measured, was measured while prompts were served beside it
    return Efficiency(min(1.0, max(0.02, had)), USUAL.arithmetic, USUAL.link, served=1.0)
