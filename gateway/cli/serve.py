"""`headgate serve`."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import click
import uvloop

from gateway.cli.options import Address, config_option, told
from gateway.wiring.launched import announced
from gateway.wiring.runtime import VERSION, Runtime
from gateway.wiring.serve import serve


@click.command("serve")
@config_option
@click.option("--listen", type=Address(), help="Instead of server.listen; port 0 takes a free one.")
def command(config: Path, listen: tuple[str, int] | None) -> None:
    """Serves a config until SIGTERM or SIGINT; both let open answers finish.

    A changed config file, or SIGHUP, is taken over without dropping a call; a bad one is refused, and the old one
    serves on.
    """
    with told():
        uvloop.run(serve(config, os.environ, listen, _ready))


def _ready(runtime: Runtime, host: str, port: int, admin_key: str | None) -> None:
    shown = f"[{host}]" if ":" in host else host
    base = f"http://{shown}:{port}"
    click.echo(f"headgate {VERSION} serves on {base}   config {runtime.path}")
    loaded = runtime.loaded
    deployments = runtime.pipeline.snapshot.deployments
    for name, provider in loaded.config.providers.items():
        models = ", ".join(each.name for each in deployments if each.provider == name) or "no deployment"
        why = loaded.disabled.get(name)
        state = f"disabled, {why}" if why else "enabled"
        click.echo(f"  {name:<12} {provider.kind:<18} {models:<24} {state}")
    for line in announced(loaded):
        click.echo(f"  {line}")
    for warning in runtime.compiled.warnings:
        click.echo(f"  warning: {warning}")
    if loaded.config.auth == "open":
        click.echo("  no key is asked of callers on this machine (auth: open)")
    click.echo(f"  pages for admins and managers: {base}/admin")
    if admin_key is not None:
        click.echo(f"  admin key, shown this once: {admin_key}")
    usable = [each.name for each in deployments if each.disabled is None]
    if usable:
        key = "" if loaded.config.auth == "open" else " -H 'authorization: Bearer YOUR_KEY'"
        click.echo(
            f"try: curl {base}/v1/chat/completions -H 'content-type: application/json'{key}"
            f' -d \'{{"model": "{usable[0]}", "messages": [{{"role": "user", "content": "Hello"}}]}}\''
        )
    # What is alive now lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
