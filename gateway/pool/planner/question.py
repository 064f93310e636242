"""What an operator asks, and the shape of the answer: sentences, figures, tables."""

from __future__ import annotations

import msgspec

from gateway.pool.planner.calibrate import Live, Startup
from gateway.pool.planner.figures import Mark, Section
from gateway.pool.planner.fit import Wanted
from gateway.pool.planner.layout import Layout
from gateway.pool.planner.load import Load
from gateway.pool.planner.price import WAYS, Hosted, Terms, Way
from gateway.pool.planner.rates import Machine

# Where nobody says what calls look like.
ASSUMED: Load = Load(1000, 300, 0.0, source="assumed: 1,000 tokens in and 300 out a call; say --load")


class Question(msgspec.Struct, frozen=True):
    """All that a plan is made from. Without `machine` it asks on what a model fits; without `wanted`, what GPUs cost.

    `count` of None is as few GPUs as will do. `layout` pins one. `cache_name` is what the KV cache is held in.
    """

    wanted: Wanted | None = None
    machine: Machine | None = None
    count: int | None = None
    layout: Layout | None = None
    cache_name: str = "bf16"
    load: Load | None = None
    target: float = 0.65
    terms: Terms = Terms()
    ways: tuple[Way, ...] = WAYS
    hosted: tuple[Hosted, ...] = ()
    startup: Startup | None = None
    live: Live | None = None


Value = float | str | None


class Table(msgspec.Struct, frozen=True, tag="table", tag_field="kind"):
    """Figures of one kind side by side; `units` are those of the columns, "" for words."""

    title: str
    columns: tuple[str, ...]
    units: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    mark: Mark
    formula: str = ""
    notes: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """The answer. `brief` says it in sentences; `refused` are layouts that were not taken, each with its reason."""

    title: str
    brief: tuple[str, ...] = ()
    parts: tuple[Section | Table, ...] = ()
    refused: tuple[str, ...] = ()
    fits: bool = True
