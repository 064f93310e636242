"""`headgate pool`: what a running gateway says of its pools, and what it is asked to do to them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from gateway.cli.admin_client import AdminClient, Unanswered
from gateway.cli.pool_text import fresh_lines, status_text

_MOST_LINES = 10_000
_LOOKED_BACK = 1000  # lines that a follower compares with those it has shown


@click.group("pool")
@click.option(
    "--url",
    envvar="HEADGATE_URL",
    default="http://127.0.0.1:8080",
    show_default=True,
    help="Where the gateway listens; or HEADGATE_URL.",
)
@click.option(
    "--admin-key",
    envvar="HEADGATE_ADMIN_KEY",
    help="Better in the environment, as HEADGATE_ADMIN_KEY: others can read a command line.",
)
@click.pass_context
def command(context: click.Context, url: str, admin_key: str | None) -> None:
    """Shows the pools of a running gateway, and drains, restarts and scales their replicas."""
    context.obj = AdminClient(url, admin_key)


@command.command("status")
@click.option("--watch", is_flag=True, help="Again every two seconds, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="As data; with --watch a line each time.")
@click.pass_obj
def status(admin: AdminClient, watch: bool, as_json: bool) -> None:
    """Shows every pool and its replicas: phase, calls, KV memory, cached share, speed and prices."""
    while True:
        with _told():
            found = admin.get("/admin/pool")
        if as_json:
            written = msgspec.json.encode(found)
            click.echo(written if watch else msgspec.json.format(written))
        else:
            if watch:
                click.clear()
            click.echo(status_text(found["pools"], time.time()), nl=False)
        if not watch:
            return
        time.sleep(2)


@command.command("logs")
@click.argument("pool")
@click.argument("replica")
@click.option("-n", "lines", type=click.IntRange(1, _MOST_LINES), default=100, show_default=True, help="Lines.")
@click.option("-f", "follow", is_flag=True, help="Goes on with what it says, until interrupted.")
@click.pass_obj
def logs(admin: AdminClient, pool: str, replica: str, lines: int, follow: bool) -> None:
    """Shows what a replica has said: its start-up, its errors."""
    path = f"/admin/pool/{admin.quoted(pool)}/{admin.quoted(replica)}/logs"
    with _told():
        shown: list[str] = admin.get(path, lines=max(lines, _LOOKED_BACK) if follow else lines)["lines"]
        _print(shown[-lines:])
        while follow:
            time.sleep(1)
            later = admin.get(path, lines=_LOOKED_BACK)["lines"]
            _print(fresh_lines(shown, later))
            shown = later or shown


@command.command("drain")
@click.argument("pool")
@click.argument("replica")
@click.pass_obj
def drain(admin: AdminClient, pool: str, replica: str) -> None:
    """Takes a replica out: no new calls, those under way go on, then it is stopped."""
    with _told():
        _say(
            admin.post(f"/admin/pool/{admin.quoted(pool)}/{admin.quoted(replica)}/drain"),
            f"{pool}/{replica} is drained and stopped",
            f"{pool}/{replica} takes no new calls, and stops once it has answered those under way",
        )


@command.command("restart")
@click.argument("pool")
@click.argument("replica", required=False)
@click.pass_obj
def restart(admin: AdminClient, pool: str, replica: str | None) -> None:
    """Starts a replica anew once it has answered its calls; all of them, one after the other, where none is named."""
    path = f"/admin/pool/{admin.quoted(pool)}"
    path += f"/{admin.quoted(replica)}/restart" if replica is not None else "/restart"
    what = f"{pool}/{replica}" if replica is not None else f"every replica of {pool}"
    with _told():
        _say(admin.post(path), f"{what} was started anew", f"{what} is being started anew")


@command.command("scale")
@click.argument("pool")
@click.argument("replicas", type=click.IntRange(0, 1024))
@click.pass_obj
def scale(admin: AdminClient, pool: str, replicas: int) -> None:
    """Has so many replicas, until the config says another number."""
    with _told():
        done = admin.post(f"/admin/pool/{admin.quoted(pool)}/scale", {"replicas": replicas})
        _say(done, f"{pool} has {replicas} replicas", f"{pool} is on its way to {replicas} replicas")


def _say(answer: dict[str, Any], done: str, begun: str) -> None:
    click.echo(done if answer["done"] else f"{begun}: see `headgate pool status --watch`")


def _print(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)


@contextmanager
def _told() -> Iterator[None]:
    """Ends a command that cannot go on with its reason on stderr and status 1."""
    try:
        yield
    except Unanswered as error:
        click.echo(str(error), err=True)
        sys.exit(1)
