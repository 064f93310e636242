"""`headgate replay`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click
import msgspec

from gateway.accounting.costs import query_of
from gateway.cli.options import told
from gateway.core.money import usd
from gateway.wiring.replay import Replay, replay, world_of
from gateway.wiring.runtime import dry_compile, read_config, read_revision
from gateway.wiring.stores import store_of


@click.command("replay")
@click.option(
    "--config",
    "config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("config.yaml"),
    show_default=True,
    help="The draft; its store holds the calls.",
)
@click.option("--since", default="24h", show_default=True, help="An age (24h, 7d) or a date (2026-11-20).")
@click.option("--until", default=None, help="As --since; default now.")
@click.option(
    "--at-most", type=click.IntRange(1, 1_000_000), default=50_000, show_default=True, help="Calls to look at."
)
@click.option(
    "--against",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A config to compare with. Default: the newest revision in the store.",
)
@click.option("--json", "as_json", is_flag=True, help="As data instead of text.")
def command(config: Path, since: str, until: str | None, at_most: int, against: Path | None, as_json: bool) -> None:
    """Tells what a draft would have done to the calls of the last hours: where they go, cost, latency, refusals.

    From receipts, which hold no prompts; what that leaves open is assumed, and said. Nothing is changed.
    """
    with told():
        query = query_of({"since": since} | ({"until": until} if until is not None else {}), time.time())
        loaded = read_config(config, os.environ)
        store = store_of(loaded)
        try:
            keys = store.keys()
            draft = world_of(loaded, dry_compile(loaded, store).snapshot, keys)
            row = store.revision()
            other = None
            if against is not None:
                other = read_config(against, os.environ)
            elif row is not None:
                other = read_revision(row, config, os.environ)
            serving = world_of(other, dry_compile(other, store).snapshot, keys) if other is not None else None
            calls, bodies = store.sample(query.since, query.until, at_most)
        finally:
            store.close()
        answer = replay(draft, serving, bodies, calls, query.since, query.until)
    click.echo(msgspec.json.format(msgspec.json.encode(answer)) if as_json else _as_text(answer), nl=as_json)


def _as_text(answer: Replay) -> str:
    """Writes a replay for people."""
    share = f", {answer.examined:,} of them looked at" if answer.sampled else ""
    lines = [f"{answer.calls:,} calls{share}; {answer.changed:,} would have gone elsewhere", ""]
    sides = [("as it was", answer.actual), ("as it serves now", answer.serving), ("by the draft", answer.draft)]
    table = [["", *(name for name, side in sides if side is not None)]]
    shown = [side for _, side in sides if side is not None]
    table.append(["cost, $", *(side.usd for side in shown)])
    table.append(["refused", *(f"{sum(side.rejected.values()):,}" for side in shown)])
    table.append(["first token, median", *(_seconds(side.ttft_p50_s) for side in shown)])
    table.append(["whole answer, median", *(_seconds(side.e2e_p50_s) for side in shown)])
    table.append(["calls without a price", *(f"{side.unpriced:,}" for side in shown)])
    for head, counts in (
        ("to", [side.by_deployment for side in shown]),
        ("refused:", [side.rejected for side in shown]),
    ):
        names = dict.fromkeys(name for each in counts for name in each)
        table += [[f"{head} {name}", *(f"{each.get(name, 0):,}" for each in counts)] for name in names]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    if answer.moves:
        lines += ["", "what moves"]
        lines += [
            f"  {move.calls:,} from {move.origin} to {move.to}: "
            f"${usd(move.nano_usd_before)} -> ${usd(move.nano_usd_after)}, such as {move.examples[0]}"
            for move in answer.moves
        ]
    if answer.skipped:
        lines += ["", f"{answer.skipped:,} calls never came to a decision and are left out"]
    return "\n".join([*lines, "", "assumed", *(f"  - {each}" for each in answer.assumptions)]) + "\n"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
