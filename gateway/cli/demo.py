"""`headgate demo`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import click
import uvloop

from gateway.cli.demo_folder import Mark, held, prepared
from gateway.cli.options import told
from gateway.core.types import Origin
from gateway.demo.traffic import Traffic
from gateway.simulator import Simulator
from gateway.simulator.replica import Hardware
from gateway.wiring.runtime import Runtime
from gateway.wiring.serve import serve

_PLACES = ("DEMO_HOSTED", "DEMO_GPU_1", "DEMO_GPU_2")  # what the demo's config reads of the environment


@click.command("demo")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("headgate-demo"),
    show_default=True,
    help="Where its store, keys and config are; one that is not a demo's is refused.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--calls", type=click.IntRange(1, 5_000_000), default=60_000, show_default=True, help="In the month.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed and end make the same month.")
@click.option("--live/--no-live", default=True, show_default=True, help="Make a few calls a second, too.")
@click.option("--serve/--no-serve", "serving", default=True, show_default=True, help="Else fill the store and end.")
def command(folder: Path, port: int, calls: int, seed: int, live: bool, serving: bool) -> None:
    """Serves a made-up month, to look at the pages with.

    Seven teams, eleven keys, hosted models and two vLLM servers that the simulator plays: with an outage, a budget that
    is spent, cached answers, refusals and a price that changed. It ends now, and is made anew when it is an hour old.
    """
    folder = folder.absolute()
    with told(), held(folder):
        nowhere = {name: f"http://127.0.0.1:{port}" for port, name in enumerate(_PLACES, 1)}  # nobody is asked there
        environ = {**os.environ, **nowhere, "DEMO_KEY": "demo", "DEMO_FOLDER": str(folder)}
        began = time.monotonic()
        mark, filled = prepared(folder, environ, seed=seed, calls=calls, now=time.time())
        if filled:
            click.echo(f"{mark.calls:,} calls in {time.monotonic() - began:.1f} s   folder {folder}")
        if serving:
            uvloop.run(_serve(folder, environ, port, mark, live))


async def _serve(folder: Path, environ: Mapping[str, str], port: int, mark: Mark, live: bool) -> None:
    """Serves the folder's config beside the providers that it names."""
    async with AsyncExitStack() as stack:
        hosted = await stack.enter_async_context(Simulator(ttft_s=0.25, tpot_s=0.012))
        gpus = [
            await stack.enter_async_context(
                Simulator(wire="vllm", models=("qwen3-32b", "whisper-large-v3"), hardware=Hardware())
            )
            for _ in range(2)
        ]
        places = dict(zip(_PLACES, (hosted.url, *(gpu.url for gpu in gpus)), strict=True))
        traffic: list[asyncio.Task[None]] = []

        def ready(runtime: Runtime, host: str, port: int, admin_key: str | None) -> None:
            _tell(f"http://{host}:{port}", mark, admin_key)
            if live:
                made = Traffic(Origin("http", host, port), mark.keys, random.Random())
                traffic.append(asyncio.create_task(made.run(), name="demo traffic"))

        try:
            await serve(folder / "config.yaml", {**environ, **places}, ("127.0.0.1", port), ready)
        finally:
            for task in traffic:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task  # what it died of, if it did, is told


def _tell(base: str, mark: Mark, admin_key: str | None) -> None:
    click.echo(f"the demo serves on {base}   pages {base}/admin")
    if admin_key is not None:
        click.echo(f"  admin key, shown this once: {admin_key}")
    for name in ("helpdesk", "crm"):
        click.echo(f"  key of {name}: {mark.keys[name]}")
    click.echo(
        f"try: curl {base}/v1/chat/completions -H 'authorization: Bearer {mark.keys['crm']}' -H 'content-type: "
        'application/json\' -d \'{"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}\''
    )
