"""`headgate explain`."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from gateway.cli.options import config_option, told
from gateway.cli.store import open_store
from gateway.wiring.accounts import Accounts, UnknownCall
from gateway.wiring.runtime import dry_compile, read_config
from gateway.wiring.suppose import Supposed, suppose

_BEHIND_S: Final = 2.5  # a running gateway moves receipts to the store every second


@click.command("explain")
@config_option
@click.argument("id", required=False)
@click.option("--model", help="Explain a call that was not made: the model it would ask for.")
@click.option("--text", default="", help="Its prompt; detectors read it.")
@click.option("--stream", is_flag=True, help="It would be streamed.")
@click.option("--team", help="Its caller's team.")
@click.option("--key", help="The name of its caller's key.")
@click.option("--sensitivity", help="A level it would be labelled with.")
@click.option("--down", multiple=True, help="A deployment that is down; may be given again.")
@click.option("--load", multiple=True, metavar="NAME=SHARE", help="How busy a pool is, 0 to 1; may be given again.")
@click.option("--json", "as_json", is_flag=True, help="As data instead of a sentence.")
def command(
    config: Path,
    id: str | None,
    model: str | None,
    text: str,
    stream: bool,
    team: str | None,
    key: str | None,
    sensitivity: str | None,
    down: tuple[str, ...],
    load: tuple[str, ...],
    as_json: bool,
) -> None:
    """Tells why the call ID (its x-request-id) went where it went, or where a call not made would go."""
    if (id is None) == (model is None):
        raise click.UsageError("give the ID of a call, or --model for a call that was not made")
    with told():
        if id is not None:
            with open_store(config, os.environ) as store:
                told_of = _decision(Accounts(store), id)
            click.echo(msgspec.json.format(msgspec.json.encode(told_of)) if as_json else told_of["sentence"])
            return
        loaded = read_config(config, os.environ)
        decision, line = suppose(
            loaded,
            dry_compile(loaded).snapshot,
            Supposed(
                model or "",
                text,
                stream,
                team,
                key,
                sensitivity,
                frozenset(down),
                secrets.randbelow(1000) / 1000,
                dict(_share(each) for each in load),
            ),
        )
    click.echo(msgspec.json.format(msgspec.json.encode(decision)) if as_json else line)


def _share(text: str) -> tuple[str, float]:
    name, _, share = text.rpartition("=")
    try:
        value = float(share)
    except ValueError:
        value = -1.0
    if not name or not 0 <= value <= 1:
        raise click.BadParameter(f"{text!r}: write NAME=SHARE, such as local=0.8", param_hint="--load")
    return name, value


def _decision(accounts: Accounts, id: str) -> dict[str, Any]:
    """Waits a moment for a call that was answered just now."""
    until = time.monotonic() + _BEHIND_S
    while True:
        try:
            return accounts.decision(id)
        except UnknownCall:
            if time.monotonic() > until:
                raise
            time.sleep(0.25)
