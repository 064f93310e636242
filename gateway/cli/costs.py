"""`headgate costs`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gateway.accounting.tables import as_csv, as_text
from gateway.cli.options import config_option, told
from gateway.cli.store import open_store
from gateway.wiring.accounts import Accounts


@click.group("costs", invoke_without_command=True)
@config_option
@click.option(
    "--group-by",
    default="deployment",
    show_default=True,
    help="hour, day, week, month, an amount of time (6h), team, key, user, model, deployment, provider, route, "
    "sensitivity, or tag:NAME.",
)
@click.option("--split-by", default=None, help="A second one, such as day by team.")
@click.option("--since", default="24h", show_default=True, help="An age (24h, 7d) or a date (2026-11-20).")
@click.option("--until", default=None, help="As --since; default now.")
@click.option("--tz", default="UTC", show_default=True, help="The time zone that days are of: Europe/Berlin.")
@click.option("--limit", default=None, help="How many values of a dimension are told one by one; default 100.")
@click.option(
    "--where",
    "where",
    multiple=True,
    metavar="GROUP=VALUE",
    help="Only these calls, such as team=sales, of one group any; none=team: those without one. May be given again.",
)
@click.option("--format", "shape", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.pass_context
def command(
    context: click.Context,
    config: Path,
    group_by: str,
    split_by: str | None,
    since: str,
    until: str | None,
    tz: str,
    limit: str | None,
    where: tuple[str, ...],
    shape: str,
) -> None:
    """Sums what calls cost, from the receipts in the store."""
    if context.invoked_subcommand is not None:
        return
    given = {"group_by": group_by, "split_by": split_by, "since": since, "until": until, "tz": tz, "limit": limit}
    parameters = [(name, value) for name, value in given.items() if value is not None]
    for each in where:
        name, separator, value = each.partition("=")
        if not separator:
            raise click.BadParameter(f"{each!r}: write GROUP=VALUE", param_hint="--where")
        parameters.append((name, value))
    with told(), open_store(config, os.environ) as store:
        accounts = Accounts(store)
        if shape == "json":
            click.echo(accounts.costs(parameters))
        elif shape == "csv":
            click.echo(as_csv(accounts.sums(parameters)), nl=False)
        else:
            click.echo(as_text(accounts.sums(parameters)), nl=False)


@command.command("rebuild")
@config_option
def rebuild(config: Path) -> None:
    """Makes all sums anew from the receipts, which hold the truth; a gateway meanwhile keeps its in the journal."""
    with told(), open_store(config, os.environ) as store:
        store.rebuild_rollups()
    click.echo("the sums are those of the receipts")
