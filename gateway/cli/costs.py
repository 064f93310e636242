"""`headgate costs`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gateway.accounting.costs import as_csv, as_text
from gateway.cli.options import config_option, told
from gateway.cli.store import open_store
from gateway.wiring.accounts import Accounts


@click.command("costs")
@config_option
@click.option(
    "--group-by",
    default="deployment",
    show_default=True,
    help="hour, day, month, team, key, user, model, deployment, provider, route, sensitivity, or tag:NAME.",
)
@click.option("--since", default="24h", show_default=True, help="An age (24h, 7d) or a date (2026-11-20).")
@click.option("--until", default=None, help="As --since; default now.")
@click.option(
    "--where",
    "where",
    multiple=True,
    metavar="GROUP=VALUE",
    help="Only these calls, such as team=sales; may be given again.",
)
@click.option("--format", "shape", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def command(config: Path, group_by: str, since: str, until: str | None, where: tuple[str, ...], shape: str) -> None:
    """Sums what calls cost, from the receipts in the store."""
    parameters = {"group_by": group_by, "since": since}
    if until is not None:
        parameters["until"] = until
    for each in where:
        name, separator, value = each.partition("=")
        if not separator:
            raise click.BadParameter(f"{each!r}: write GROUP=VALUE", param_hint="--where")
        parameters[name] = value
    with told(), open_store(config, os.environ) as store:
        accounts = Accounts(store)
        if shape == "json":
            click.echo(accounts.costs(parameters))
        elif shape == "csv":
            click.echo(as_csv(accounts.sums(parameters)), nl=False)
        else:
            click.echo(as_text(accounts.sums(parameters)), nl=False)
