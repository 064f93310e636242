"""The `headgate` command: one file per group of commands, imported when it is called."""

from __future__ import annotations

import importlib

import click

_COMMANDS = {
    "serve": "Serves a config until it is told to stop.",
    "check": "Checks a config: providers, prices, routes, and who may go where.",
    "explain": "Tells why a call went, or would go, where.",
    "replay": "Tells what a draft of the config would have done to the calls of the last hours.",
    "costs": "Sums what calls cost.",
    "explain-cost": "Tells why a call cost what it cost.",
    "size": "Sizes a pool of your own GPUs: what fits, how fast, how many, and what it costs.",
    "pool": "Shows the pools of a running gateway, and drains, restarts and scales their replicas.",
    "keys": "Creates, lists and switches off keys.",
    "import": "Makes a config of another gateway's.",
    "demo": "Serves a made-up month, to look at the pages with.",
    "simulate": "Runs a provider that answers without a model, and fails on command.",
}
_MODULES = {
    "import": "import_litellm",
    "explain-cost": "explain_cost",
}  # where the command's own name cannot be a module's


class Commands(click.Group):
    """Finds commands by name; their modules load on use, so that `--help` is quick."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"gateway.cli.{_MODULES.get(name, name)}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="headgate", message="headgate %(version)s")
def main() -> None:
    """An LLM gateway: per call, hosted API or your own vLLM, by data sensitivity, cost and latency."""
