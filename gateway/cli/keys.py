"""`headgate keys`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from gateway.cli.options import Seconds, config_option, told
from gateway.cli.store import open_store
from gateway.core.allowances import PERIODS, Budget, RateLimits
from gateway.core.money import NANO_PER_USD, usd
from gateway.state.protocols import KeyRow
from gateway.wiring.runtime import read_config

if TYPE_CHECKING:
    from gateway.admin.access import Visitor
    from gateway.admin.key_desk import KeyDesk

_F = TypeVar("_F", bound=Callable[..., Any])
_DAY_S: Final = 86_400.0
_RATES: Final = ("calls_per_minute", "tokens_per_minute", "in_flight")
_CLEARED: Final[dict[str, Any]] = {
    "team": None, "user": None, "tags": (), "models": None, "routes": None, "sensitivity": None, "expires": None,
    "role": None, "budgets": (), "limits": RateLimits(), "strict": False,
}  # fmt: skip


@click.group("keys")
def command() -> None:
    """Creates, lists, changes and rotates keys. A running gateway takes changes over within seconds."""


def _fields(function: _F) -> _F:
    """Adds the options that say what a key is."""
    options = [
        click.option("--team", help="A team of the config."),
        click.option("--user", help="Whom the key belongs to."),
        click.option("--model", "models", multiple=True, help="A model it may ask for; may be given again."),
        click.option("--route", "routes", multiple=True, help="A route it may use; may be given again."),
        click.option("--sensitivity", help="A floor for its calls: a level of the config."),
        click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A tag; may be given again."),
        click.option("--expires", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="Its end (UTC)."),
        click.option("--role", type=click.Choice(["admin", "owner", "viewer"]), help="What it may do on /admin."),
        click.option("--budget", "budgets", multiple=True, metavar="USD/PERIOD", help="50.00/month; again for more."),
        click.option("--calls-per-minute", type=click.IntRange(1), help="How many calls may begin in a minute."),
        click.option("--tokens-per-minute", type=click.IntRange(1), help="How many tokens it may take in a minute."),
        click.option("--in-flight", type=click.IntRange(1), help="How many calls it may have under way."),
        click.option("--strict/--lenient", default=None, help="Refuse what a provider cannot express, or drop it."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@command.command("create")
@config_option
@click.argument("name")
@_fields
def create(config: Path, name: str, **said: Any) -> None:
    """Makes a key and shows it, this once: only its hash is kept."""
    with _desk(config) as (desk, operator):
        _, plain = desk.create(operator, name, _given(said))
    click.echo(plain)


@command.command("edit")
@config_option
@click.argument("name")
@_fields
@click.option("--clear", multiple=True, type=click.Choice(list(_CLEARED)), help="Takes back what was said of it.")
def edit(config: Path, name: str, clear: tuple[str, ...], **said: Any) -> None:
    """Changes what is said of a key of the store; lists and limits are said whole."""
    cleared = {"expires_at" if field == "expires" else field: _CLEARED[field] for field in clear}
    changes = cleared | _given(said)
    if not changes:
        raise click.UsageError("say what to change, or --clear it")
    with _desk(config) as (desk, operator):
        desk.edit(operator, name, changes)


@command.command("rotate")
@config_option
@click.argument("name")
@click.option(
    "--overlap", type=Seconds(), default=_DAY_S, show_default="1d", help="How long the old one is still good."
)
def rotate(config: Path, name: str, overlap: float) -> None:
    """Gives a key of the store another text, and shows it, this once."""
    with _desk(config) as (desk, operator):
        _, _, plain = desk.rotate(operator, name, overlap)
    click.echo(plain)


@command.command("delete")
@config_option
@click.argument("name")
def delete(config: Path, name: str) -> None:
    """Takes a key of the store away for good; receipts keep its name."""
    with _desk(config) as (desk, operator):
        desk.delete(operator, name)


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


@command.command("list")
@config_option
def list_keys(config: Path) -> None:
    """Lists the keys of the config and of the store; the keys themselves are nowhere."""
    with _desk(config) as (desk, operator):
        rows = desk.rows(operator)
    for row, source in rows:
        line = f"{row.name:<24} team {row.team or '-':<16} {_state(row):<9} {source:<7} {' '.join(_bounds(row))}"
        click.echo(line.rstrip())
    if not rows:
        click.echo("no keys: make one with `headgate keys create NAME`")


@contextmanager
def _desk(config: Path) -> Iterator[tuple[KeyDesk, Visitor]]:
    """Opens the keys' desk as whoever runs this machine."""
    from gateway.admin.access import Visitor
    from gateway.admin.key_desk import KeyDesk
    from gateway.wiring.desks import surroundings_of

    with told(), open_store(config, os.environ) as store:
        around = surroundings_of(read_config(config, os.environ).config)
        yield KeyDesk(store, lambda: around, lambda: None), Visitor("command line", "admin")


def _switch(config: Path, name: str, enabled: bool) -> None:
    with _desk(config) as (desk, operator):
        desk.edit(operator, name, {"enabled": enabled})


def _given(said: dict[str, Any]) -> dict[str, Any]:
    """Returns what was said as fields of a key."""
    fields = {
        field: said[field] for field in ("team", "user", "sensitivity", "role", "strict") if said[field] is not None
    }
    fields |= {field: said[field] for field in ("models", "routes") if said[field]}
    if said["tags"]:
        fields["tags"] = tuple(sorted(_tag(tag) for tag in said["tags"]))
    if said["budgets"]:
        fields["budgets"] = tuple(_budget(budget) for budget in said["budgets"])
    if said["expires"] is not None:
        fields["expires_at"] = said["expires"].replace(tzinfo=UTC).timestamp()
    if any(said[rate] is not None for rate in _RATES):
        fields["limits"] = RateLimits(*(said[rate] for rate in _RATES))
    return fields


def _tag(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.BadParameter(f"{text!r}: write NAME=VALUE", param_hint="--tag")
    return name, value


def _budget(text: str) -> Budget:
    amount, _, period = text.partition("/")
    per = next((per for per in PERIODS if per == period), None)
    if per is None or not re.fullmatch(r"\d{1,12}(\.\d{1,9})?", amount):
        raise click.BadParameter(
            f"{text!r}: write dollars and hour, day, week or month: 50.00/month", param_hint="--budget"
        )
    whole, _, part = amount.partition(".")
    return Budget(int(whole) * NANO_PER_USD + int(part.ljust(9, "0")), per)


def _state(row: KeyRow) -> str:
    if not row.enabled:
        return "disabled"
    return "expired" if row.expires_at is not None and row.expires_at <= time.time() else "enabled"


def _bounds(row: KeyRow) -> Iterator[str]:
    """Yields what else there is to say of a key, in words."""
    if row.role is not None:
        yield row.role
    yield from (f"${usd(budget.nano_usd)}/{budget.per}" for budget in row.budgets)
    if row.previous_until is not None and row.previous_until > time.time():
        until = datetime.fromtimestamp(row.previous_until, UTC)
        yield f"(the one before is good until {until:%Y-%m-%d %H:%M}Z)"
