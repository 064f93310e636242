"""Options and endings that commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from gateway.config.units import duration
from gateway.core.errors import CallError, ConfigError
from gateway.state.protocols import StoreUnavailable

config_option = click.option(
    "--config",
    "config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("config.yaml"),
    show_default=True,
    help="The config file.",
)


@contextmanager
def told() -> Iterator[None]:
    """Ends a command that cannot go on with its reasons on stderr and status 1, without a traceback."""
    try:
        yield
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(1)
    except CallError as error:
        click.echo(error.message, err=True)
        sys.exit(1)
    except (OSError, StoreUnavailable) as error:
        click.echo(str(error), err=True)
        sys.exit(1)


class Address(click.ParamType[tuple[str, int]]):
    """HOST:PORT."""

    name = "HOST:PORT"

    def convert(
        self, value: str | tuple[str, int], parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[str, int]:
        """Reads an address; a bracketed IPv6 host loses its brackets."""
        if isinstance(value, tuple):
            return value
        host, separator, port = value.rpartition(":")
        if not separator or not host or not port.isdecimal() or int(port) > 65535:
            self.fail("write HOST:PORT, such as 127.0.0.1:8080", parameter, context)
        return host.strip("[]"), int(port)


class Seconds(click.ParamType[float]):
    """A duration with its unit."""

    name = "DURATION"

    def convert(self, value: str | float, parameter: click.Parameter | None, context: click.Context | None) -> float:
        """Reads `150ms` or `2s`; returns seconds."""
        if isinstance(value, float):
            return value
        try:
            return duration(value)
        except ValueError as error:
            self.fail(str(error), parameter, context)
