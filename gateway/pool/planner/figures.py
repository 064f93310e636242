"""A figure and what it rests on: its formula, the same with numbers put in, fact or guess, how far off it may be."""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec

Mark = Literal["fact", "measured", "estimate", "opinion"]

GIB: Final = 2**30
GB: Final = 10**9

# What every mark promises; `docs/sizing.md` says it to operators.
MARKS: Final[dict[str, str]] = {
    "fact": "arithmetic on a model's own config, or what you said",
    "measured": "read from the log or the metrics of a vLLM that runs",
    "estimate": "a formula with general knowledge [K] in it, and how far off it may be",
    "opinion": "a rule of thumb: argue with it",
}


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One number. `error` is relative (0.2 = within a fifth either way); `worked` is the formula with numbers in it."""

    name: str
    value: float
    unit: str
    mark: Mark
    formula: str
    worked: str = ""
    error: float = 0.0
    source: str = ""

    @property
    def shown(self) -> str:
        """The value with its unit, for people."""
        return write(self.value, self.unit)


class Section(msgspec.Struct, frozen=True, tag="figures", tag_field="kind"):
    """Figures that answer one question; `notes` are sentences under them."""

    title: str
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()


def worst(*figures: Figure) -> Mark:
    """Returns the weakest mark: what is made of figures is no surer than the least sure of them."""
    order: tuple[Mark, ...] = ("fact", "measured", "estimate", "opinion")
    return max((figure.mark for figure in figures), key=order.index)


def number(value: float) -> str:
    """Writes a number with three digits that count, or all of a whole one."""
    if not math.isfinite(value):
        return "never"
    if abs(value) >= 1e8:
        return f"{value:.2e}"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def dollars(value: float) -> str:
    """Writes dollars: whole ones of large sums, cents of small ones, more of what is smaller than a cent."""
    if not math.isfinite(value):
        return "never"
    if abs(value) >= 1000:
        return f"${value:,.0f}"
    return f"${value:,.2f}" if abs(value) >= 0.1 or value == 0 else f"${value:.3g}"


def write(value: float, unit: str) -> str:
    """Writes a value in its unit; bytes of models in GB and GiB, for the field means either by the same letters."""
    match unit:
        case "bytes":
            return size(value)
        case "GiB":
            return f"{value / GIB:,.1f} GiB"
        case "parameters":
            return f"{value / 1e9:,.2f} B"
        case "B/token" | "tokens" | "sequences" | "GPUs" | "replicas" | "tokens/day":
            whole = math.floor(value + 1e-9) if math.isfinite(value) else 0
            return f"{whole:,} {unit[:-1] if whole == 1 and unit.endswith('s') else unit}"
        case "ms":
            return f"{value:,.1f} ms" if value < 1000 else f"{value:,.0f} ms"
        case "tokens/s":
            return f"{value:,.1f} {unit}" if value < 1000 else f"{value:,.0f} {unit}"
        case "%":
            return f"{value * 100:,.0f} %" if value < 10 else f"{value:,.0f} times"
        case "busy":
            return "never" if value > 1 else f"from {value:.0%}"
        case _ if unit.startswith("$"):
            return dollars(value) + unit[1:]
        case _:
            return f"{number(value)} {unit}".strip()


def size(value: float) -> str:
    """Writes bytes in GB (10⁹) and GiB (2³⁰); of less than a tenth of one, in MB."""
    if abs(value) < GB / 10:
        return f"{value / 1e6:,.2f} MB"
    return f"{value / GB:,.1f} GB ({value / GIB:,.1f} GiB)"
