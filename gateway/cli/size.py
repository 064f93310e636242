"""`headgate size`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from click.core import ParameterSource

from gateway.cli.options import Seconds, told
from gateway.cli.size_inputs import read_hosted, read_ledger, read_live, read_model
from gateway.pool.planner.architecture import BadModel
from gateway.pool.planner.calibrate import Startup, read_log
from gateway.pool.planner.fit import Wanted
from gateway.pool.planner.hardware import gpu_of, link_of
from gateway.pool.planner.layout import Layout
from gateway.pool.planner.load import Load, load_of
from gateway.pool.planner.memory import weights_in, weights_of
from gateway.pool.planner.price import WAYS, Terms, Way
from gateway.pool.planner.quantisation import UnknownWord, cache_bytes, format_of
from gateway.pool.planner.question import Question
from gateway.pool.planner.rates import Machine
from gateway.pool.planner.report import answer
from gateway.pool.planner.text import as_text

_USUAL: Final = Terms()
_SHARE: Final = click.FloatRange(0, 1)
_MORE: Final = click.FloatRange(min=0)


class Given(msgspec.Struct, frozen=True):
    """The command's options, as given."""

    model: str | None
    gpu: str | None
    count: int | None
    node: int
    link: str | None
    network: str
    tp: int | None
    pp: int
    quant: str | None
    kv: str
    context: int
    concurrency: int
    tpot: float
    memory: float
    load: str | None
    since: str
    until: str | None
    where: tuple[str, ...]
    target: float
    price: tuple[str, ...]
    used: float
    discount: tuple[float, ...]
    life: float
    staff: float
    salary: float
    power: float
    pue: float
    rack: float
    egress: float
    overhead: float
    against: tuple[str, ...]
    log: Path | None
    metrics: str | None
    over: float
    config: Path
    as_json: bool
    explain: bool


_file = click.Path(dir_okay=False, path_type=Path)


@click.command("size")
@click.option("--model", help="A name (70b, glm-5, Qwen/Qwen3-32B), a config.json, or a folder with one and weights.")
@click.option("--gpu", help="a10g, l4, l40s, rtx4090, a100-40, a100, h100, h200, b200, mi300x, ascend-910b.")
@click.option("--count", type=click.IntRange(1, 4096), help="How many GPUs. Default: as few as hold it.")
@click.option("--node", type=click.IntRange(1, 72), default=8, show_default=True, help="GPUs that one link joins.")
@click.option("--link", help="What joins a node's GPUs: nvlink3|4|5, pcie4|5, 25g, 100g … Default: the GPU's own.")
@click.option("--network", default="400g", show_default=True, help="What joins nodes, in Gb/s.")
@click.option("--tp", type=click.IntRange(1, 64), help="Tensor parallelism. Default: the best there is.")
@click.option("--pp", type=click.IntRange(1, 64), default=1, help="Pipeline stages, with --tp.")
@click.option("--quant", help="Weights: fp32, fp16, fp8, int8, int4, mxfp4, nvfp4. Default: as published.")
@click.option("--kv", default="bf16", show_default=True, help="KV cache: bf16, fp8, nvfp4.")
@click.option("--context", type=click.IntRange(1, 10**7), default=4096, show_default=True, help="Tokens of a sequence.")
@click.option("--concurrency", type=click.IntRange(1, 10**6), default=32, show_default=True, help="Sequences at once.")
@click.option("--tpot", type=Seconds(), default="50ms", show_default=True, help="Time per output token to keep within.")
@click.option("--memory", type=_SHARE, default=0.92, show_default=True, help="vLLM's --gpu-memory-utilization.")
@click.option("--load", metavar="IN:OUT:PER_SECOND[:HIT]|ledger", help="Calls: tokens in, out, calls a second, cached.")
@click.option("--since", default="7d", show_default=True, help="Of the ledger: an age or a date.")
@click.option("--until", help="As --since; default now.")
@click.option("--where", multiple=True, metavar="GROUP=VALUE", help="Only these calls of it; may be given again.")
@click.option("--target", type=_SHARE, default=0.65, show_default=True, help="How busy replicas may be at the busiest.")
@click.option("--price", multiple=True, metavar="WAY[=USD]", help="rented, reserved, bought; $ an hour, or of a GPU.")
@click.option(
    "--used", type=_SHARE, default=_USUAL.utilisation, show_default=True, help="How busy GPUs are, on average."
)
@click.option(
    "--discount",
    type=_SHARE,
    multiple=True,
    default=_USUAL.discounts,
    show_default=True,
    help="Of a reservation, as a share; may be given again.",
)
@click.option(
    "--life",
    type=click.FloatRange(0.1, 20),
    default=_USUAL.life_years,
    show_default=True,
    help="Years of a bought GPU.",
)
@click.option("--staff", type=_MORE, default=_USUAL.staff, show_default=True, help="People who run it.")
@click.option("--salary", type=_MORE, default=_USUAL.salary_usd, show_default=True, help="$ a year for one.")
@click.option("--power", type=_MORE, default=_USUAL.power_usd_kwh, show_default=True, help="$ per kWh.")
@click.option(
    "--pue", type=click.FloatRange(1, 5), default=_USUAL.pue, show_default=True, help="kW drawn for one used."
)
@click.option("--rack", type=_MORE, default=_USUAL.rack_usd_kw_month, show_default=True, help="$ per kW and month.")
@click.option("--egress", type=_MORE, default=_USUAL.egress_usd_gb, show_default=True, help="$ per GB that leaves.")
@click.option("--overhead", type=_MORE, default=_USUAL.overhead, show_default=True, help="Share of GPU cost on top.")
@click.option(
    "--against",
    multiple=True,
    metavar="NAME=IN:OUT",
    help="In place of the config's prices, $/M; may be given again.",
)
@click.option("--log", type=_file, help="vLLM's start-up log: what it measured replaces formulas.")
@click.option("--metrics", metavar="FILE|URL", help="vLLM's /metrics; a URL is read twice.")
@click.option("--over", type=Seconds(), default="10s", show_default=True, help="Between the two readings.")
@click.option(
    "--config", type=_file, default=Path("config.yaml"), show_default=True, help="For hosted prices and the ledger."
)
@click.option("--json", "as_json", is_flag=True, help="As data instead of tables.")
@click.option("--explain", is_flag=True, help="Every formula with its numbers put in, and where they are from.")
def command(**given: Any) -> None:
    """Sizes a pool of your own GPUs: what fits, how fast, how many, what it costs, and when an API costs less.

    With --model alone: on what it fits. With --gpu too: in which layout, how fast, at what price. With --gpu alone:
    what so many cost. Every figure names its formula, and whether it is fact, measured, estimate or opinion.
    """
    asked = Given(**given)
    if asked.model is None and asked.gpu is None:
        raise click.UsageError("name a model (--model), GPUs (--gpu, --count), or both")
    with told():
        try:
            report = answer(_question(asked, _is_given("config")))
        except (UnknownWord, BadModel) as error:
            click.echo(str(error), err=True)
            sys.exit(1)
    if asked.as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_rounded(msgspec.to_builtins(report)))))
    else:
        click.echo(as_text(report, asked.explain), nl=False)


def _rounded(value: Any) -> Any:
    """Leaves six digits of every figure: no formula here knows more."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < 1e15 else value
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def _is_given(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def _question(asked: Given, config_is_given: bool) -> Question:
    """Reads all that the options name; raises UnknownWord, BadModel, ConfigError, CallError, OSError."""
    ways, terms = _terms(asked)
    layout = Layout(asked.tp, asked.pp) if asked.tp else None
    count = asked.count or (layout.gpus if layout else None)
    if layout and count and layout.gpus > count:
        raise UnknownWord(f"{layout.name} takes {layout.gpus} GPUs, --count is {count}")
    return Question(
        wanted=_wanted(asked) if asked.model else None,
        machine=_machine(asked) if asked.gpu else None,
        count=count,
        layout=layout,
        cache_name=asked.kv,
        load=_load(asked),
        target=asked.target or 0.01,
        terms=terms,
        ways=ways,
        hosted=read_hosted(asked.config, asked.against, config_is_given),
        startup=_startup(asked.log),
        live=read_live(asked.metrics, asked.over) if asked.metrics else None,
    )


def _wanted(asked: Given) -> Wanted:
    model, published, checkpoint = read_model(asked.model or "")
    form = format_of(asked.quant) if asked.quant else published
    exact = checkpoint is not None and (not asked.quant or form.name == published.name)
    weights = weights_in(checkpoint, model, form) if exact and checkpoint else weights_of(model, form)
    return Wanted(
        model, form, weights, cache_bytes(asked.kv), asked.context, asked.concurrency, asked.tpot, asked.memory
    )


def _machine(asked: Given) -> Machine:
    gpu = gpu_of(asked.gpu or "")
    return Machine(gpu, link_of(asked.link) if asked.link else gpu.link, link_of(asked.network), asked.node)


def _load(asked: Given) -> Load | None:
    if asked.load is None:
        return None
    if asked.load == "ledger":
        return read_ledger(asked.config, asked.since, asked.until, asked.where)
    return load_of(asked.load)


def _startup(log: Path | None) -> Startup | None:
    if log is None:
        return None
    with log.open(errors="replace") as lines:
        found = read_log(lines)
    if found == Startup():
        raise BadModel(f"{log} has none of the lines that vLLM writes when it starts")
    return found


def _terms(asked: Given) -> tuple[tuple[Way, ...], Terms]:
    """Reads `--price`, and the rest of what money depends on."""
    ways: list[Way] = []
    amounts: dict[str, float] = {}
    discounts = asked.discount
    for text in asked.price:
        way, dollars = _price(text)
        ways.append(way)
        if dollars is not None:
            amounts["buy_usd" if way == "bought" else "rent_usd"] = dollars
            discounts = (0.0,) if way == "reserved" else discounts  # what is given is what is paid
    terms = Terms(
        discounts=discounts,
        life_years=asked.life,
        staff=asked.staff,
        salary_usd=asked.salary,
        power_usd_kwh=asked.power,
        pue=asked.pue,
        rack_usd_kw_month=asked.rack,
        egress_usd_gb=asked.egress,
        overhead=asked.overhead,
        utilisation=asked.used or 0.01,
    )
    return tuple(dict.fromkeys(ways)) or WAYS, msgspec.structs.replace(terms, **amounts)


def _price(text: str) -> tuple[Way, float | None]:
    word, _, amount = text.partition("=")
    try:
        dollars = float(amount) if amount else None
    except ValueError:
        dollars = -1.0
    for way in WAYS:
        if way == word and (dollars is None or 0 <= dollars < 1e9):
            return way, dollars
    raise UnknownWord(f"{text!r} is no price: write rented, reserved or bought, and =DOLLARS where you know")
