"""`headgate explain-cost`."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from gateway.accounting.explain_cost import as_text
from gateway.cli.options import config_option, told
from gateway.cli.store import open_store
from gateway.wiring.accounts import Accounts


@click.command("explain-cost")
@config_option
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="As data instead of a table.")
def command(config: Path, id: str, as_json: bool) -> None:
    """Tells why the call ID (its x-request-id) cost what it cost, line by line."""
    with told(), open_store(config, os.environ) as store:
        explained = Accounts(store).explain_cost(id)
    click.echo(msgspec.json.format(msgspec.json.encode(explained)) if as_json else as_text(explained), nl=as_json)
