"""`headgate simulate`."""

from __future__ import annotations

from typing import Literal

import click
import uvloop

from gateway.cli.options import Address, Seconds, told
from gateway.simulator import serve
from gateway.simulator.replica import Hardware


@click.command("simulate")
@click.option("--listen", type=Address(), default="127.0.0.1:9000", show_default=True, help="Where it listens.")
@click.option(
    "--wire",
    type=click.Choice(["openai", "vllm"]),
    default="openai",
    show_default=True,
    help="Whose server it plays; Anthropic's and Gemini's paths answer either way.",
)
@click.option("--ttft", type=Seconds(), default="150ms", show_default=True, help="Time to the first token.")
@click.option("--tpot", type=Seconds(), default="15ms", show_default=True, help="Time per token after it.")
@click.option(
    "--engine",
    is_flag=True,
    help="With the vLLM wire: a modelled engine gives the pace, the queue and the cache, instead of --ttft and --tpot.",
)
def command(listen: tuple[str, int], wire: Literal["openai", "vllm"], ttft: float, tpot: float, engine: bool) -> None:
    """Runs a provider that answers without a model, on OpenAI's, Anthropic's, Gemini's and vLLM's wires.

    It fails on command, by the model's name (`demo!429`, `demo!cut`, `demo!hang`) or the header x-simulate;
    docs/simulator.md lists the words.
    """
    host, port = listen
    click.echo(f"simulator on http://{host}:{port}/v1, Ctrl-C ends it")
    with told():
        try:
            hardware = Hardware() if engine and wire == "vllm" else None
            uvloop.run(serve(host, port, wire=wire, ttft_s=ttft, tpot_s=tpot, hardware=hardware))
        except KeyboardInterrupt:
            pass
