"""`headgate check`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gateway.cli.options import config_option, told
from gateway.config import Loaded
from gateway.core.money import Price, usd
from gateway.core.types import Deployment
from gateway.wiring.compile import Compiled
from gateway.wiring.launched import announced
from gateway.wiring.runtime import dry_compile, read_config


@click.command("check")
@config_option
def command(config: Path) -> None:
    """Checks a config and prints what it says: providers, deployments, prices, routes, and who may go where.

    Exits with 1, naming file, line and column, where the config cannot serve; a failing policy test counts.
    """
    with told():
        loaded = read_config(config, os.environ)
        compiled = dry_compile(loaded)
    _show(loaded, compiled)


def _show(loaded: Loaded, compiled: Compiled) -> None:
    click.echo("providers")
    for name, provider in loaded.config.providers.items():
        why = loaded.disabled.get(name)
        state = f"disabled, {why}" if why else "enabled"
        click.echo(
            f"  {name:<14} {provider.kind:<18} location {provider.place:<12} retention {provider.keeps:<8} {state}"
        )
    for line in announced(loaded):
        click.echo(f"  {line}")
    click.echo("\ndeployments, and dollars per million tokens")
    for deployment in compiled.snapshot.deployments:
        click.echo(
            f"  {deployment.name:<14} {deployment.provider}/{deployment.model:<24} {_price_of(deployment):<34} "
            f"may see {compiled.snapshot.levels[deployment.clearance]}"
        )
    click.echo("\nroutes")
    for route in compiled.snapshot.routing.routes:
        models = ", ".join(route.when.model) if route.when.model else "everything else, and auto"
        among = ", ".join(deployment.name for deployment in route.among)
        click.echo(f"  {route.name:<14} {models:<28} {route.pick.name} of {among}")
    click.echo("\nwho may go where")
    click.echo("\n".join(f"  {line}" for line in compiled.matrix.render().splitlines()))
    for warning in loaded.warnings:  # the matrix shows its own
        click.echo(f"warning: {warning}")
    for note in compiled.notes:
        click.echo(f"note: {note}")
    tests = len(loaded.config.policies.tests)
    click.echo(f"\nok: {tests} policy test{'' if tests == 1 else 's'} passed")


def _priced(price: Price | None) -> str:
    if price is None:
        return "unknown"
    if price.source == "free":
        return "free"
    rates = price.tiers[0][1]
    tiers = f", {len(price.tiers)} tiers" if len(price.tiers) > 1 else ""
    return f"{usd(rates.fresh_input)} in, {usd(rates.output_text)} out ({price.source}{tiers})"


def _price_of(deployment: Deployment) -> str:
    if deployment.own is None:
        return _priced(deployment.price)
    rates = deployment.own.spare
    return f"{_priced(deployment.price)}, ranked from {usd(rates.fresh_input)} in, {usd(rates.output_text)} out"
