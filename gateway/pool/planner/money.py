"""The figures of a plan that are money: a load in replicas, bills, dollars per million tokens, break-even."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.pool.planner.figures import Figure, Section, number
from gateway.pool.planner.hardware import Gpu
from gateway.pool.planner.load import Capacity, Demand, Load
from gateway.pool.planner.price import (
    HOURS_A_MONTH,
    HOURS_A_YEAR,
    Bill,
    Hosted,
    Pool,
    Terms,
    Way,
    at_volume,
    bill_of,
    break_even_tokens_per_day,
    break_even_utilisation,
    marginal_usd,
    opinion,
    per_million,
    token_price,
)
from gateway.pool.planner.question import Table, Value
from gateway.pool.planner.rates import SERVED_ERROR, Efficiency

VOLUMES: Final = (0.5e6, 10e6, 100e6, 500e6)
UTILISATIONS: Final = (0.1, 0.3, 0.6, 1.0)
RATE_ERROR: Final = SERVED_ERROR  # of tokens a second, and so of all that divides by them


def mixed_rate(capacity: Capacity, load: Load) -> float:
    """Tokens a second, in and out, of a replica that is never idle: (in + out) / (in·(1−hit)/prefill + out/decode)."""
    busy = load.input_tokens * (1 - load.hit) / capacity.prefill + load.output_tokens / capacity.decode
    return (load.input_tokens + load.output_tokens) / busy


def with_mix(section: Section, capacity: Capacity, load: Load, efficiency: Efficiency) -> Section:
    """Adds what a replica serves of the load's mix, which money divides by."""
    figure = Figure(
        f"{load.input_tokens:,.0f} in, {load.output_tokens:,.0f} out",
        mixed_rate(capacity, load),
        "tokens/s",
        "estimate",
        "(in + out) / (in/prefill + out/decode)·served",
        f"({load.input_tokens:,.0f} + {load.output_tokens:,.0f}) / ({load.input_tokens * (1 - load.hit):,.0f} / "
        f"{capacity.prefill:,.0f} + {load.output_tokens:,.0f} / {capacity.decode:,.0f}), {efficiency.served:g} served",
        SERVED_ERROR,
        "served mixes keep 0.25 to 0.97 of the roofline (GPUStack's performance lab, 2026); --metrics measures yours",
    )
    return Section(section.title, (*section.figures, figure), section.notes)


def load_section(load: Load, capacity: Capacity, demand: Demand, target: float, gpus: int) -> Section:
    """A load in replicas."""
    mix = f"{load.per_second:g}/s·{load.input_tokens:,.0f}"
    residence = capacity.ttft_s + load.output_tokens * capacity.tpot_s
    figures = (
        Figure("calls when busiest", load.per_second, "calls/s", "fact", load.source, "", 0.0, load.source),
        Figure("a day", load.tokens_per_day, "tokens/day", "fact", "calls·(in + out)",
               f"{load.input_tokens:,.0f} in, {load.output_tokens:,.0f} out a call; {load.hit:.0%} of input cached",
               0.0, load.source),
        Figure("prefill takes", demand.prefill, "replicas", "estimate", "λ·in·(1−hit) / prefill rate",
               f"{mix}·{1 - load.hit:.2f} / {capacity.prefill:,.0f}", RATE_ERROR),
        Figure("decode takes", demand.decode, "replicas", "estimate", "λ·out / decode rate",
               f"{load.per_second:g}/s·{load.output_tokens:,.0f} / {capacity.decode:,.0f}", RATE_ERROR),
        Figure("KV takes", demand.cache, "replicas", "estimate", "λ·residence / sequences at once",
               f"{load.per_second:g}/s·{residence:.1f} s / {capacity.sequences:,.0f}", RATE_ERROR),
        Figure("replicas", demand.replicas, "replicas", "estimate", "⌈max(prefill + decode, KV)/target⌉",
               f"⌈{max(demand.prefill + demand.decode, demand.cache):.2f} / {target:g}⌉ of {gpus} GPU(s) each",
               RATE_ERROR, f"bottleneck: {demand.bottleneck}"),
        Figure("busy when busiest", demand.utilisation, "%", "estimate", "max(…) / replicas", "", RATE_ERROR),
    )  # fmt: skip
    return Section(
        "the load", tuple(_fraction(figure) for figure in figures), (f"what decides is {demand.bottleneck}",)
    )


def _fraction(figure: Figure) -> Figure:
    """Shares of a replica are no whole numbers."""
    if figure.unit == "replicas" and figure.name != "replicas":
        return Figure(
            figure.name, figure.value, "of a replica", figure.mark, figure.formula, figure.worked, figure.error
        )
    return figure


def bills(gpu: Gpu, count: int, ways: Sequence[Way], terms: Terms) -> list[tuple[str, Bill]]:
    """What GPUs cost by the ways to have them; a reservation at each discount that it may have."""
    made: list[tuple[str, Bill]] = []
    for way in ways:
        if way != "reserved":
            made.append((way, bill_of(gpu, count, way, terms)))
            continue
        for discount in terms.discounts:
            name = f"reserved, {discount:.0%} off" if discount else "reserved"
            made.append((name, bill_of(gpu, count, way, terms, discount)))
    return made


def bill_table(gpu: Gpu, count: int, made: Sequence[tuple[str, Bill]], terms: Terms) -> Table:
    """The bills side by side."""
    rent = gpu.rent_usd if terms.rent_usd is None else terms.rent_usd
    buy = gpu.buy_usd if terms.buy_usd is None else terms.buy_usd
    rows: tuple[tuple[Value, ...], ...] = tuple(
        (name, bill.gpus, bill.power + bill.rack, bill.staff + bill.overhead, bill.total, bill.total * HOURS_A_MONTH,
         bill.total * HOURS_A_YEAR)
        for name, bill in made
    )  # fmt: skip
    kilowatts = count * gpu.server_watts / 1000
    ways = {bill.way for _, bill in made}
    notes = []
    if ways & {"rented", "reserved"}:
        off = "; reserved: less --discount, usually 40 to 60 %" if "reserved" in ways else ""
        notes.append(f"rented: {count}·${rent:.2f}/h{off}")
    if "bought" in ways:
        notes.append(f"bought: {count}·${buy:,.0f} / {terms.life_years:g} years / 8760 h, hosts included")
        notes.append(
            f"power: {kilowatts:.1f} kW·{terms.pue:g}·${terms.power_usd_kwh:g}/kWh +"
            f" {kilowatts:.1f} kW·${terms.rack_usd_kw_month:g} of rack a month / 730"
        )
    notes.append(f"staff: {terms.staff:g} of ${terms.salary_usd:,.0f} a year, whichever way [opinion]")
    notes.append(
        f"egress comes on top by token: {terms.egress_bytes:g} B·${terms.egress_usd_gb:g}/GB ="
        f" ${terms.egress_bytes * terms.egress_usd_gb / 1000:.4f} a million out"
    )
    notes.append("prices are as given" if terms.rent_usd is not None and terms.buy_usd is not None else gpu.priced)
    return Table(
        f"what {count}×{gpu.label} cost",
        ("", "GPUs", "power", "staff", "in all", "in all", "in all"),
        ("", "$/h", "$/h", "$/h", "$/h", "$/month", "$/year"),
        rows,
        "estimate",
        "GPUs + power and rack + staff and overhead",
        tuple(notes),
    )


def utilisation_table(made: Sequence[tuple[str, Bill]], rate: float) -> Table:
    """Dollars per million tokens by how busy the GPUs are: what decides more than any price."""
    rows: tuple[tuple[Value, ...], ...] = tuple(
        (name, *(per_million(bill.total, rate, busy) for busy in UTILISATIONS)) for name, bill in made
    )
    return Table(
        "a million tokens, by how busy the GPUs are",
        ("", *(f"{busy:.0%} busy" for busy in UTILISATIONS)),
        ("", *("$/M" for _ in UTILISATIONS)),
        rows,
        "estimate",
        f"$/h / (3600·{rate:,.0f} tokens/s·busy)·10⁶, in and out together",
        ("idle GPUs cost as much as busy ones: the left column is what most teams pay",),
    )


def price_section(
    gpu: Gpu, gpus: int, count: int, name: str, bill: Bill, capacity: Capacity, load: Load, terms: Terms, target: float
) -> Section:
    """Dollars per million tokens in and out, at the target, and of one more token while there is room."""
    share = bill.total * gpus / count
    margin = marginal_usd(gpu, gpus, capacity.decode, bill.way, terms)
    price = token_price(Pool(share, capacity.prefill, capacity.decode, max(1, count // gpus), target, margin))
    rate = mixed_rate(capacity, load)
    egress = terms.egress_bytes * terms.egress_usd_gb / 1000
    figures = (
        Figure(f"in, {target:.0%} busy", price.full_input, "$/M", "estimate", "$/h / (3600·prefill·busy)·10⁶",
               f"${share:.2f} / (3600·{capacity.prefill:,.0f}·{target:g})·10⁶", RATE_ERROR),
        Figure(f"out, {target:.0%} busy", price.full_output + egress, "$/M", "estimate",
               "$/h / (3600·decode·busy)·10⁶",
               f"${share:.2f} / (3600·{capacity.decode:,.0f}·{target:g})·10⁶ + ${egress:.4f}", RATE_ERROR),
        Figure(f"mixed, {target:.0%} busy", per_million(share, rate, target) + egress * load.output_share, "$/M",
               "estimate",
               "$/h / (3600·tokens/s·busy)·10⁶",
               f"${share:.2f} / (3600·{rate:,.0f}·{target:g})·10⁶; {load.input_tokens:,.0f} in, "
               f"{load.output_tokens:,.0f} out", RATE_ERROR, load.source),
        Figure("one more out, while idle", price.marginal_output, "$/M", "estimate",
               "power above idle, and egress",
               f"{'own power, ' if bill.way == 'bought' else ''}{terms.egress_bytes:g} B·${terms.egress_usd_gb:g}/GB",
               0.5, "the GPUs are paid for either way"),
    )  # fmt: skip
    return Section(f"a million tokens of {name} GPUs", figures)


def hosted_table(made: Sequence[tuple[str, Bill]], hosted: Sequence[Hosted], load: Load, rate: float) -> Table:
    """Break-even with each hosted price: how busy GPUs have to be, and how many tokens a day that is."""
    rows: list[tuple[Value, ...]] = []
    for each in hosted:
        blended = each.blended(load.output_share, load.hit)
        for name, bill in made:
            busy = break_even_utilisation(bill.total, rate, blended)
            tokens = break_even_tokens_per_day(bill.total, blended)
            rows.append((each.name, blended, each.cached_usd, name, busy, tokens / 1e6))
    return Table(
        "break-even with hosted prices",
        ("hosted", "mixed", "cached in", "own GPUs", "win, if busy", "M tokens/day"),
        ("", "$/M", "$/M", "", "busy", "number"),
        tuple(rows),
        "estimate",
        "busy = $/h / (3600·tokens/s·hosted/10⁶); tokens/day = 24·$/h / hosted·10⁶",
        (
            f"mixed: {1 - load.output_share:.0%} in, {load.output_share:.0%} out"
            + (f", {load.hit:.0%} of input cached" if load.hit else "")
            + f" ({load.source})",
        ),
    )


def volume_table(
    volumes: Sequence[float], own: tuple[str, Bill], fleet: tuple[int, int], rate: float, utilisation: float,
    hosted: Hosted, load: Load,
) -> Table:  # fmt: skip
    """API or own, by tokens a day: arithmetic, and what people say. `fleet` is GPUs of a replica, and in the bill."""
    (name, bill), (gpus, count) = own, fleet
    replica = (bill.total - bill.staff) * gpus / count
    blended = hosted.blended(load.output_share, load.hit)
    rows: list[tuple[Value, ...]] = []
    for tokens in volumes:
        at = at_volume(tokens, replica, bill.staff, rate, utilisation, blended)
        rows.append((f"{number(tokens / 1e6)} M", float(at.replicas * gpus), at.own_usd, at.hosted_usd, at.cheaper,
                     opinion(tokens).short))  # fmt: skip
    return Table(
        f"API or own: {name} GPUs, {utilisation:.0%} busy, against {hosted.name}",
        ("tokens/day", "GPUs", "own", "hosted", "cheaper", "people say [opinion]"),
        ("", "number", "$/day", "$/day", "", ""),
        tuple(rows),
        "estimate",
        "own = 24·(⌈tokens / (86400·tokens/s·busy)⌉·replica $/h + staff); hosted = tokens·$/M",
    )


def cheapest(hosted: Sequence[Hosted], load: Load) -> Hosted | None:
    """Returns the hosted price that is least for the mix, of those that are not free."""
    priced = [each for each in hosted if each.blended(load.output_share, load.hit) > 0]
    return min(priced, key=lambda each: each.blended(load.output_share, load.hit), default=None)
