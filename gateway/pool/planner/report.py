"""Makes the answer to a question: what fits, how fast, how many, what it costs. Values in, values out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.pool.planner.figures import GIB, Section, dollars, number, size
from gateway.pool.planner.fit import (
    COLUMNS,
    ROWS,
    SIZES,
    Candidate,
    Wanted,
    calibrated,
    candidates,
    efficiency_from,
    fewest,
    judge,
    matrix,
    nearest,
    usual_machine,
)
from gateway.pool.planner.hardware import GPUS
from gateway.pool.planner.layout import Layout, Refusal, refused
from gateway.pool.planner.load import Capacity, Demand, Load, demand_of
from gateway.pool.planner.memory import cache_of, nominal_bytes, weights_of
from gateway.pool.planner.money import (
    VOLUMES,
    bill_table,
    bills,
    cheapest,
    hosted_table,
    load_section,
    mixed_rate,
    price_section,
    utilisation_table,
    volume_table,
    with_mix,
)
from gateway.pool.planner.price import break_even_utilisation, opinion, per_million
from gateway.pool.planner.quantisation import FORMATS
from gateway.pool.planner.question import ASSUMED, Question, Report, Table, Value
from gateway.pool.planner.rates import (
    USUAL,
    Efficiency,
    Machine,
    decode_step,
    first_token_s,
    largest_batch,
    prefill_rate,
)
from gateway.pool.planner.sections import cache_section, link_section, memory_section, speed_section, weights_section


def answer(question: Question) -> Report:
    """Answers a question, as far as it was asked."""
    if question.wanted is None:
        return _cost_alone(question)
    if question.machine is None:
        return _on_what(question, question.wanted)
    return _on_this(question, question.wanted, question.machine)


# -- GPUs without a model -----------------------------------------------------------------------------------------


def _cost_alone(question: Question) -> Report:
    machine, count = question.machine, question.count or 1
    if machine is None:
        return Report("nothing to size", ("name a model (--model), GPUs (--gpu, --count), or both",), fits=False)
    made = bills(machine.gpu, count, question.ways, question.terms)
    brief = tuple(f"{name}: ${bill.total:,.2f} an hour, ${bill.total * 8760:,.0f} a year" for name, bill in made)
    load = question.load or ASSUMED
    notes = (
        f"per token that is nothing yet: add --model, and at {question.terms.utilisation:.0%} busy a price comes out",
        *((opinion(load.tokens_per_day).sentence,) if load.tokens_per_day else ()),
    )
    table = bill_table(machine.gpu, count, made, question.terms)
    return Report(f"{count}×{machine.gpu.label}", brief, (table, Section("what is missing", (), notes)))


# -- a model without GPUs -----------------------------------------------------------------------------------------


def _on_what(question: Question, wanted: Wanted) -> Report:
    rows = matrix(wanted, {name: nominal_bytes(wanted.model, FORMATS[name]) for name in ROWS})
    table = Table(
        f"how many GPUs: to run at all / with {wanted.concurrency} sequences of {wanted.context:,} tokens",
        ("weights", "plain", *COLUMNS),
        ("", "GB", *("" for _ in COLUMNS)),
        tuple(
            (row.format, row.nominal / 1e9, *(_cell(cell.one, cell.all) for cell in row.cells)) for row in rows
        ),
        "estimate",
        "least of 1, 2, 4, 8, 16, 32 whose memory·0.92 holds weights/GPU + activations + KV",
        (
            "16 and 32 are nodes of 8, in a pipeline over 400 Gb/s; – is more than 32",
            "fp8 needs Ada, Hopper or later to be computed in; on A100 and A10G it is held so and computed in 16 bits",
        ),
    )  # fmt: skip
    brief = [_kv_sentence(wanted, question.cache_name), *_too_long(wanted)]
    for gpu in ("a100", "h100", "h200"):
        found = fewest(wanted, usual_machine(GPUS[gpu]))
        if found is not None:
            layout = found.replica.layout
            brief.append(
                f"In {wanted.format.name} with all of them it takes {layout.gpus}×{gpu.upper()} ({layout.name}); "
                f"--gpu {gpu} says how fast, and what it costs."
            )
            break
    sections = (table, weights_section(wanted), cache_section(wanted, question.cache_name))
    return Report(_title(wanted, question), tuple(brief), sections)


def _cell(one: int | None, most: int | None) -> str:
    if one is None:
        return "–"
    if one == most:
        return f"{one}"
    return f"{one} / {'–' if most is None else most}"


def _kv_sentence(wanted: Wanted, cache_name: str) -> str:
    kv = cache_of(wanted.model, wanted.value_bytes).sequence(wanted.context) * wanted.concurrency
    return (
        f"Weights take {size(wanted.weights.total)} in {wanted.format.name}; {wanted.concurrency} sequences of "
        f"{wanted.context:,} tokens take {size(kv)} of KV in {cache_name}."
    )


def _too_long(wanted: Wanted) -> tuple[str, ...]:
    most = wanted.model.context
    if not most or wanted.context <= most:
        return ()
    return (f"{wanted.model.name} is made for {most:,} tokens, not for {wanted.context:,}.",)


def _title(wanted: Wanted, question: Question) -> str:
    return f"{wanted.model.name} · {wanted.format.name} weights · {question.cache_name} KV"


# -- a model on GPUs ----------------------------------------------------------------------------------------------


def _on_this(question: Question, wanted: Wanted, machine: Machine) -> Report:
    count = question.count
    if count is None:
        found = fewest(wanted, machine) or fewest(msgspec.structs.replace(wanted, concurrency=1), machine)
        count = found.replica.layout.gpus if found else SIZES[-1]
    if question.layout is not None:
        judged = judge(wanted, machine, question.layout, max(1, count // question.layout.gpus))
        good, bad = ([judged], []) if isinstance(judged, Candidate) else ([], [judged])
    else:
        good, bad = candidates(wanted, machine, count)
    title = f"{_title(wanted, question)} · {count}×{machine.gpu.label} ({machine.link.name})"
    head = (weights_section(wanted), cache_section(wanted, question.cache_name))
    if not good:
        return _nothing_fits(wanted, machine, count, title, head, bad)
    best = good[0]
    notes: list[str] = []
    if question.startup is not None:
        best = nearest(good, question.startup) or best
        notes.append(f"the log's weights a GPU are those of {best.replica.layout.name}")
    best = calibrated(best, question.startup, question.live, wanted.context)
    load = _load(question)
    efficiency = USUAL
    measured = efficiency_from(best, question.live, load.context) if question.live else None
    if measured is not None:
        efficiency = measured
        notes.append(f"measured: {measured.bandwidth:.0%} of the data sheet's bandwidth at the batch that runs")
    best = _at_measured(best, wanted, efficiency)
    capacity = capacity_of(best, wanted, load, efficiency)
    speed = speed_section(wanted, best, efficiency, measured is not None, load.input_tokens)
    speed = with_mix(speed, capacity, load, efficiency)
    parts: list[Section | Table] = [*head, memory_section(wanted, best), speed]
    parts += _links(wanted, machine, count, best)
    if len(good) > 1 or bad:
        parts.insert(0, _layouts(good, best, wanted))
    demand = demand_of(load, capacity, question.target) if load.per_second else None
    replicas = best.replicas
    if demand is not None:
        replicas = demand.replicas
        parts.append(load_section(load, capacity, demand, question.target, best.replica.layout.gpus))
    parts += _money(question, machine, best, capacity, load, max(1, replicas))
    brief = _brief(question, wanted, machine, best, capacity, demand, notes, count, bad)
    return Report(title, brief, tuple(parts), _reasons(bad), fits=best.room >= 1)


def _load(question: Question) -> Load:
    load = question.load or ASSUMED
    live = question.live
    if live is None:
        return load
    changes: dict[str, float | str] = {}
    if live.hit is not None and not load.hit:
        changes["hit"] = live.hit
    if question.load is None and live.input_tokens and live.output_tokens:
        changes |= {"input_tokens": live.input_tokens, "output_tokens": live.output_tokens}
        changes["source"] = "vLLM's metrics"
    return msgspec.structs.replace(load, **changes)


def _at_measured(best: Candidate, wanted: Wanted, efficiency: Efficiency) -> Candidate:
    """The batch and its step again, with what was measured."""
    again = judge(wanted, best.replica.machine, best.replica.layout, best.replicas, efficiency)
    if isinstance(again, Refusal):
        return best
    batch = again.batch
    if "tokens" in best.budget.measured:
        batch = max(1, min(batch, int(best.sequences)))
    tpot = decode_step(best.replica, batch, wanted.context, efficiency).total_s
    return msgspec.structs.replace(best, batch=batch, tpot_s=tpot, slow=again.slow)


def capacity_of(best: Candidate, wanted: Wanted, load: Load, efficiency: Efficiency) -> Capacity:
    """What a replica does with the load's lengths: as many at once as its KV holds of them, within the wanted time."""
    replica, per = best.replica, best.budget.per_gpu
    room = best.sequences * per.sequence(wanted.context) / per.sequence(max(load.context, 1.0))
    most = min(room, float(replica.engine.sequences))
    batch = largest_batch(replica, load.context, most, wanted.tpot_s, efficiency)
    batch = max(batch, min(int(most), best.batch))
    step = decode_step(replica, batch, load.context, efficiency)
    return Capacity(
        prefill_rate(replica, load.input_tokens, efficiency) * efficiency.served,
        batch / step.total_s * efficiency.served,
        step.total_s,
        first_token_s(replica, load.input_tokens, efficiency),
        most,
    )


def _links(wanted: Wanted, machine: Machine, count: int, best: Candidate) -> list[Section]:
    """What a slow link costs: of the widest tensor parallelism that heads allow, where the link is no fabric."""
    if machine.link.one_way_gb_s >= 100:
        return []
    tensor = 1
    while tensor * 2 <= min(count, machine.node) and not _forbidden(wanted, tensor * 2):
        tensor *= 2
    if tensor == 1:
        return []
    replica = msgspec.structs.replace(best.replica, layout=Layout(tensor))
    return [link_section(wanted, machine, replica, wanted.concurrency)]


def _forbidden(wanted: Wanted, tensor: int) -> bool:
    return refused(wanted.model, wanted.format, Layout(tensor)) is not None


def _layouts(good: Sequence[Candidate], best: Candidate, wanted: Wanted) -> Table:
    rows: list[tuple[Value, ...]] = []
    for each in good[:6]:
        layout = each.replica.layout
        taken = "←" if layout == best.replica.layout else ""
        rows.append((layout.name, float(each.replicas), each.budget.weights / GIB, each.budget.cache / GIB, each.room,
                     each.tpot_s * 1e3, each.rate, taken))  # fmt: skip
    return Table(
        f"layouts that hold it, best first; at once: of {wanted.context:,} tokens",
        ("layout", "replicas", "weights", "KV", "at once", "a token", "in all", ""),
        ("", "whole", "GiB/GPU", "GiB/GPU", "whole", "ms", "tokens/s", ""),
        tuple(rows),
        "estimate",
        f"enough sequences first, then a token within {wanted.tpot_s * 1e3:.0f} ms, then output tokens a second",
        (f"vllm serve … {best.replica.layout.flags}",),
    )


def _reasons(bad: Sequence[Refusal]) -> tuple[str, ...]:
    """One line a layout that a rule forbids; of those too small for the memory, the largest alone."""
    told = [each for each in bad if each.rule != "memory"]
    small = [each for each in bad if each.rule == "memory"]
    if small:
        told.append(max(small, key=lambda each: (each.layout.gpus, each.layout.tensor)))
    return tuple(f"{each.layout.name}: {each.why}" for each in told)


def _nothing_fits(
    wanted: Wanted, machine: Machine, count: int, title: str, head: tuple[Section, ...], bad: Sequence[Refusal]
) -> Report:
    room = count * machine.gpu.memory_bytes * wanted.utilisation
    brief = [
        f"It does not fit: weights take {size(wanted.weights.total)}, {count}×{machine.gpu.label} have "
        f"{size(room)} usable together, and no layout is left."
    ]
    more = fewest(msgspec.structs.replace(wanted, concurrency=1), machine)
    if more is not None and more.replica.layout.gpus > count:
        brief.append(f"{more.replica.layout.gpus}×{machine.gpu.label} hold it ({more.replica.layout.name}).")
    for name in ("fp8", "int4"):
        smaller = FORMATS[name]
        if smaller.bits < wanted.format.bits and weights_of(wanted.model, smaller).total < 0.95 * room:
            brief.append(
                f"In {name} its weights take {nominal_bytes(wanted.model, smaller) / 1e9:,.0f} GB: --quant {name}."
            )
    return Report(title, tuple(brief), head, _reasons(bad), fits=False)


def _money(
    question: Question, machine: Machine, best: Candidate, capacity: Capacity, load: Load, replicas: int
) -> list[Section | Table]:
    gpus = best.replica.layout.gpus
    count = gpus * replicas
    made = bills(machine.gpu, count, question.ways, question.terms)
    rate = mixed_rate(capacity, load)
    parts: list[Section | Table] = [bill_table(machine.gpu, count, made, question.terms)]
    name, first = made[0]
    parts.append(
        price_section(machine.gpu, gpus, count, name, first, capacity, load, question.terms, question.terms.utilisation)
    )
    parts.append(utilisation_table(made, rate * replicas))
    if question.hosted:
        parts.append(hosted_table(made, question.hosted, load, rate * replicas))
    against = cheapest(question.hosted, load)
    if against is not None:
        volumes = sorted({*VOLUMES, *((load.tokens_per_day,) if load.tokens_per_day else ())})
        parts.append(volume_table(volumes, made[0], (gpus, count), rate, question.terms.utilisation, against, load))
    return parts


def _brief(
    question: Question,
    wanted: Wanted,
    machine: Machine,
    best: Candidate,
    capacity: Capacity,
    demand: Demand | None,
    notes: Sequence[str],
    count: int,
    refusals: Sequence[Refusal],
) -> tuple[str, ...]:
    layout = best.replica.layout
    said = [_kv_sentence(wanted, question.cache_name), *_too_long(wanted)]
    many = f"{best.replicas} replicas of {layout.name}" if best.replicas > 1 else f"one replica in {layout.name}"
    enough = "" if best.room >= wanted.concurrency else f", not the {wanted.concurrency} asked for"
    at_once = int(best.room)
    enough = "" if at_once >= wanted.concurrency else f" (not {wanted.concurrency}: take fewer bits or more GPUs)"
    said.append(
        f"It fits on {count}×{machine.gpu.label} as {many}: {at_once:,} sequence{'' if at_once == 1 else 's'} of "
        f"{wanted.context:,} tokens at once{enough}, decoding up to {best.rate:,.0f} tokens/s in all, "
        f"{best.tpot_s * 1e3:.0f} ms a token."
    )
    if machine.link.network and any(each.rule == "link" for each in refusals):
        said.append(f"Tensors are not split over a {machine.link.name}: they would do a fraction of it; why, is below.")
    spare = count - best.replicas * layout.gpus
    if spare:
        said.append(f"{spare} of the {count} GPUs stay unused by it.")
    if demand is not None:
        taken = demand.replicas * layout.gpus
        short = f", {taken - count} more than there are" if taken > count else ""
        said.append(
            f"The load takes {demand.replicas} replica{'' if demand.replicas == 1 else 's'}, {taken} GPUs{short}, "
            f"{demand.utilisation:.0%} busy when it is busiest; what decides is {demand.bottleneck}."
        )
    load = _load(question)
    said.append(_price_sentence(question, machine, best, capacity, load, demand.replicas if demand else best.replicas))
    if load.tokens_per_day:
        said.append(
            f"Of {number(load.tokens_per_day / 1e6)}M tokens a day people say: {opinion(load.tokens_per_day).sentence}."
        )
    return (*said, *(note[0].upper() + note[1:] + "." for note in notes))


def _price_sentence(
    question: Question, machine: Machine, best: Candidate, capacity: Capacity, load: Load, replicas: int
) -> str:
    """What a million tokens cost, and whether a hosted price is less."""
    count = best.replica.layout.gpus * max(1, replicas)
    name, bill = bills(machine.gpu, count, question.ways[:1], question.terms)[0]
    rate, used = mixed_rate(capacity, load) * max(1, replicas), question.terms.utilisation
    said = (
        f"A million tokens cost {dollars(per_million(bill.total, rate, used))} on {name} GPUs that are {used:.0%} busy"
    )
    against = cheapest(question.hosted, load)
    if against is None:
        return f"{said}; no hosted price is configured to compare with (--against)."
    hosted = against.blended(load.output_share, load.hit)
    busy = break_even_utilisation(bill.total, rate, hosted)
    wins = "which they never undercut" if busy > 1 else f"which they undercut from {busy:.0%} busy on"
    return f"{said}; the least of the hosted, {against.name}, is {dollars(hosted)}, {wins}."
