"""Costs as CSV for other programs, and as a table for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final

from gateway.accounting.costs import Costs, CostsRow
from gateway.core.money import BUCKETS

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_COSTS: Final = (*BUCKETS, "other")


def cell(text: str) -> str:
    """Returns a text that no spreadsheet takes for a formula (OWASP, CSV Injection): with an apostrophe before it."""
    return f"'{text}" if text.startswith(_FORMULA) and text != "-" else text


def as_csv(answer: Costs) -> str:
    """Writes the rows as CSV with a header line, without their sum."""
    text = io.StringIO()
    writer = csv.writer(text)
    named = [word for word in (answer.group_by, answer.split_by) if word is not None]
    money = ["usd", "saved_usd", "estimated_share", "unpriced", *(f"{bucket}_nano_usd" for bucket in _COSTS)]
    writer.writerow([*map(cell, named), "calls", "errors", "cached", *BUCKETS, *money])
    for row in answer.rows:
        names = [cell(name) for name in _names(row)]
        counts = [row.calls, row.errors, row.cached, *(row.tokens.get(bucket, 0) for bucket in BUCKETS)]
        costs = [row.cost.get(bucket, 0) for bucket in _COSTS]
        writer.writerow([*names, *counts, row.usd, row.saved_usd, row.estimated_share, row.unpriced, *costs])
    return text.getvalue()


def as_text(answer: Costs) -> str:
    """Writes a table for people: buckets of tokens that nobody used are left out."""
    buckets = [bucket for bucket in BUCKETS if bucket in answer.total.tokens]
    named = [word for word in (answer.group_by, answer.split_by) if word is not None]
    tokens = [bucket.replace("_", " ") for bucket in buckets]
    header = [*named, "calls", "errors", "cached", *tokens, "usd", "saved", "estimated", "unpriced"]
    total = [*_names(answer.total), *[""] * (len(named) - 1)]
    lines = [[*_names(row), *_cells(row, buckets)] for row in answer.rows]
    return table([header, *lines, [*total, *_cells(answer.total, buckets)]], len(named))


def _names(row: CostsRow) -> list[str]:
    return [name for name in (row.group, row.split) if name is not None]


def _cells(row: CostsRow, buckets: Sequence[str]) -> list[str]:
    counts = [row.calls, row.errors, row.cached, *(row.tokens.get(bucket, 0) for bucket in buckets)]
    money = [row.usd, row.saved_usd, f"{row.estimated_share:.1%}", f"{row.unpriced:,}"]
    return [*(f"{count:,}" for count in counts), *money]


def table(lines: Sequence[Sequence[str]], words: int = 1) -> str:
    """Draws lines under their header and above their sum; all but the first so many columns stand to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "  ".join("-" * width for width in widths)
    drawn = [
        "  ".join(
            cell.ljust(width) if column < words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join([drawn[0], rule, *drawn[1:-1], rule, drawn[-1]]) + "\n"
