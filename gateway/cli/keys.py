"""`headgate keys`."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.auth import create_key
from gateway.cli.options import config_option, told
from gateway.cli.store import open_store
from gateway.state.protocols import KeyRow
from gateway.wiring.runtime import read_config


@click.group("keys")
def command() -> None:
    """Creates, lists and switches off keys. A running gateway takes changes over within seconds."""


@command.command("create")
@config_option
@click.argument("name")
@click.option("--team", help="A team of the config.")
@click.option("--user", help="Whom the key belongs to.")
@click.option("--model", "models", multiple=True, help="A model it may ask for; may be given again. Default: all.")
@click.option("--route", "routes", multiple=True, help="A route it may use; may be given again. Default: all.")
@click.option("--sensitivity", help="A floor for its calls: a level of the config.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A tag for its receipts; may be given again.")
@click.option(
    "--expires", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="From when on it is refused (UTC)."
)
def create(
    config: Path,
    name: str,
    team: str | None,
    user: str | None,
    models: tuple[str, ...],
    routes: tuple[str, ...],
    sensitivity: str | None,
    tags: tuple[str, ...],
    expires: datetime | None,
) -> None:
    """Makes a key and shows it, this once: only its hash is kept."""
    plain, hashed = create_key()
    with told():
        written = read_config(config, os.environ).config
        if team is not None and team not in written.teams:
            raise click.BadParameter(
                f"the config has no team {team!r}: {', '.join(written.teams) or 'none at all'}", param_hint="--team"
            )
        if sensitivity is not None and sensitivity not in written.sensitivity.levels:
            raise click.BadParameter(
                f"write one of {', '.join(written.sensitivity.levels)}", param_hint="--sensitivity"
            )
        if any(key.name == name for key in written.keys):
            raise click.BadParameter(f"the config already has a key named {name!r}", param_hint="NAME")
        row = KeyRow(
            hash=hashed,
            name=name,
            team=team,
            user=user,
            tags=tuple(sorted(_tag(tag) for tag in tags)),
            models=models or None,
            routes=routes or None,
            sensitivity=sensitivity,
            expires_at=expires.replace(tzinfo=UTC).timestamp() if expires is not None else None,
            created_at=time.time(),
        )
        with open_store(config, os.environ) as store:
            try:
                store.add_key(row)
            except ValueError as error:
                raise click.ClickException(str(error)) from None
    click.echo(plain)


@command.command("list")
@config_option
def list_keys(config: Path) -> None:
    """Lists the keys of the config and of the store; the keys themselves are nowhere."""
    with told(), open_store(config, os.environ) as store:
        rows = [(key.name, key.team, key.enabled, "config") for key in read_config(config, os.environ).config.keys]
        stored = store.keys()
        rows += [(key.name, key.team, key.enabled, "store") for key in stored]
    for name, team, enabled, place in rows:
        click.echo(f"{name:<24} team {team or '-':<16} {'enabled' if enabled else 'disabled':<9} {place}")
    if not rows:
        click.echo("no keys: make one with `headgate keys create NAME`")


@command.command("disable")
@config_option
@click.argument("name")
def disable(config: Path, name: str) -> None:
    """Refuses a key of the store from now on."""
    _switch(config, name, False)


@command.command("enable")
@config_option
@click.argument("name")
def enable(config: Path, name: str) -> None:
    """Takes a disabled key of the store again."""
    _switch(config, name, True)


def _switch(config: Path, name: str, enabled: bool) -> None:
    with told(), open_store(config, os.environ) as store:
        if not store.enable_key(name, enabled):
            raise click.ClickException(f"the store has no key named {name!r}; keys of the config are edited there")


def _tag(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.BadParameter(f"{text!r}: write NAME=VALUE", param_hint="--tag")
    return name, value
