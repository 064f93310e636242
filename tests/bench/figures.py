"""Figures of rounds: what a generator printed, medians, and which rounds are void. Knows no process and no clock."""

from __future__ import annotations

import re
import statistics
from collections.abc import Collection, Sequence

Row = dict[str, float]

GENERATOR_LIMIT = 0.8  # of the load's core: beyond it the load generator measures itself
OTHERS_LIMIT = 0.1  # of the contender's core, to processes that are no part of the run

_RESULT = re.compile(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)")


class BadRound(Exception):
    """A contender answered with errors, or the generator printed no figures: the run is worth nothing."""


def read_wrk(output: str) -> Row:
    """Reads what the script of wrk printed; raises BadRound where an answer was an error or a connection broke."""
    found = _RESULT.search(output)
    if found is None:
        raise BadRound(f"wrk printed no result:\n{output}")
    calls, duration_us, p50_us, p99_us, refused, broken = map(int, found.groups())
    if refused or broken or not calls:
        raise BadRound(f"{calls} calls, {refused} answered with an error, {broken} broken or timed out")
    return {
        "calls": calls,
        "calls_per_s": calls / (duration_us / 1e6),
        "p50_ms": p50_us / 1000,
        "p99_ms": p99_us / 1000,
    }


def medians(rounds: Sequence[Row]) -> Row:
    """Returns the median of each figure that all rounds have."""
    shared = [name for name in rounds[0] if all(name in row for row in rounds)] if rounds else []
    return {name: statistics.median(row[name] for row in rounds) for name in shared}


def is_void(row: Row) -> bool:
    """Whether the generator measured itself, or something else had a part of the contender's core."""
    return row.get("generator_share", 0.0) > GENERATOR_LIMIT or row.get("others_share", 0.0) > OTHERS_LIMIT


def void_note(name: str, rounds: Sequence[Row]) -> str | None:
    """Says in words how many rounds of a contender are void, and why; None where all count."""
    void = [row for row in rounds if is_void(row)]
    if not void:
        return None
    busy = statistics.median(row.get("generator_share", 0.0) for row in void)
    others = statistics.median(row.get("others_share", 0.0) for row in void)
    rates = [row["calls_per_s"] for row in void if "calls_per_s" in row]
    at = f", at {statistics.median(rates):,.0f} calls/s" if rates else ""
    return (
        f"{name}: {len(void)} of {len(rounds)} rounds void{at}; in them the load's core was {busy:.0%} busy, "
        f"and others took {others:.0%} of the contender's."
    )


def settle(rounds: Sequence[Row], lasting: Collection[str] = ()) -> Row:
    """Returns the medians of the rounds that count.

    `lasting` are the figures that a busy generator leaves as they are, such as CPU read from a contender's process:
    their medians are of all rounds.
    """
    counted = [row for row in rounds if not is_void(row)]
    always = {name: value for name, value in medians(rounds).items() if name in {"generator_share", *lasting}}
    return {**medians(counted), **always}


def against(rows: dict[str, Row], name: str, figure: str, other: str) -> float | None:
    """Returns a contender's figure as a multiple of another's; None where either was not measured."""
    mine, theirs = rows.get(name, {}).get(figure), rows.get(other, {}).get(figure)
    return mine / theirs if mine is not None and theirs else None


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the value that this share of the values is below, 0 to 1."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
