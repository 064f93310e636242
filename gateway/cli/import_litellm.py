"""`headgate import`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.cli.options import told
from gateway.config.load import read
from gateway.core.errors import ConfigError
from gateway.importing import House, Imported, import_litellm
from gateway.importing.report import as_json, as_text
from gateway.prices import Catalogue
from gateway.wiring.compile import Compiled
from gateway.wiring.kinds import KINDS, WIRES
from gateway.wiring.labels import DETECTORS
from gateway.wiring.runtime import dry_compile

_file = click.Path(dir_okay=False, path_type=Path)


@click.group("import")
def command() -> None:
    """Makes a config of another gateway's, and says what became of each of its values."""


@command.command("litellm")
@click.argument("config", type=_file)
@click.option("-o", "--output", type=_file, help="Where the config is written; without it, to the output.")
@click.option("--report", type=_file, help="Where the whole report is written, as JSON.")
def litellm(config: Path, output: Path | None, report: Path | None) -> None:
    """Makes a config of LiteLLM's proxy config.

    Every value is sorted into exact, approximate and unsupported, with its line and why. Secrets are not copied: each
    becomes a variable. The made config is checked as `headgate check` would; variables that are not set count as set.
    """
    with told():
        imported = import_litellm(_text(config), str(config), house())
        if report is not None:
            report.write_text(as_json(imported.report), encoding="utf-8")
        if output is None:
            click.echo(imported.text, nl=False)
        else:
            _write(output, imported.text)
        click.echo(as_text(imported.report), nl=False, err=output is None)
        compiled = check(imported, output or Path("headgate.yaml"), os.environ)
    for warning in (*compiled.warnings, *compiled.notes):
        click.echo(f"warning: {warning}", err=output is None)
    deployments = len(compiled.snapshot.deployments)
    click.echo(f"ok: {deployments} deployments load, and their rules are proven", err=output is None)


def house() -> House:
    """Returns what this build can be told of."""
    catalogue = Catalogue(datetime.now(UTC).date())
    return House(
        kinds=KINDS,
        serves={kind: wire.serves for kind, wire in WIRES.items()},
        is_priced=lambda kind, model: catalogue.find(kind, model).price is not None,
    )


def check(imported: Imported, path: Path, environ: Mapping[str, str]) -> Compiled:
    """Loads and proves a made config as if it stood at `path`; raises ConfigError."""
    loaded = read(imported.text.encode(), path, {**imported.stand_ins, **environ}, KINDS, DETECTORS)
    return dry_compile(loaded)


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}:1: this is not UTF-8"]) from None


def _write(path: Path, text: str) -> None:
    """Writes a new file; one that is there may have been worked on."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        click.echo(f"{path} is there already: name another, or remove it first", err=True)
        sys.exit(1)
