"""`llm`, Simon Willison's command line, as its users type it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.sdks.conftest import environment, python_of
from tests.stories.house import World, at

WEATHER = """
def get_weather(city: str, unit: str) -> str:
    "Tells the weather of a city."
    return f"21 degrees {unit} in {city}"
"""


class Ran(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


Llm = Callable[..., Awaitable[Ran]]


@pytest.fixture
def llm(tmp_path: Path, world: World) -> Llm:
    """Runs `llm` with a folder of its own, in which the gateway is written down as docs/clients.md shows it."""
    program = python_of("openai-3").with_name("llm")
    model = {
        "model_id": "headgate",
        "model_name": "chat",
        "api_base": f"{world.house.url}/v1",
        "supports_tools": True,
        "supports_schema": True,
    }
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([model]))
    environ = environment(LLM_USER_PATH=str(tmp_path), OPENAI_BASE_URL=f"{world.house.url}/v1")

    async def run(*arguments: str) -> Ran:
        ran = await asyncio.to_thread(
            subprocess.run,
            [program, *arguments],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    return run


async def spent(world: World, deployment: str) -> dict[str, Any]:
    """Returns what the books say of a deployment; each story has one of a name of its own."""
    rows = (await world.get("/admin/costs?group_by=deployment")).json["rows"]
    [row] = [row for row in rows if row["group"] == deployment]
    return row


@pytest.mark.parametrize("how", [[], ["--no-stream"]], ids=["streamed", "whole"])
async def test_a_prompt_is_answered_and_its_tokens_are_booked(world: World, llm: Llm, how: list[str]) -> None:
    deployment = f"llm-{'whole' if how else 'streamed'}"
    await world.serve({deployment: at(await world.simulator())})
    ran = await llm("-m", "headgate", "Hello", "-o", "temperature", "0.5", *how)
    assert ran.out.startswith("I am a simulator standing in for demo"), ran
    [logged] = json.loads((await llm("logs", "-n", "1", "--json")).out)
    row = await spent(world, deployment)
    assert row["tokens"] == {"fresh_input": logged["input_tokens"], "output_text": logged["output_tokens"]}


async def test_a_function_is_called_and_its_result_goes_back(world: World, llm: Llm) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    ran = await llm("-m", "headgate", "Ask get_weather about Bern.", "--functions", WEATHER)
    assert "I am a simulator" in ran.out, ran
    assert len(provider.requests) == 2
    assert b"21 degrees" in provider.requests[1].body


async def test_an_answer_fits_its_schema(world: World, llm: Llm) -> None:
    await world.serve({"only": at(await world.simulator())})
    ran = await llm("-m", "headgate", "Hello", "--schema", "gate, litres int, open bool")
    assert {field: type(value) for field, value in json.loads(ran.out).items()} == {
        "gate": str,
        "litres": int,
        "open": bool,
    }


async def test_an_endpoint_is_used_without_writing_it_down(world: World, llm: Llm) -> None:
    abroad, here = await world.simulator(), await world.simulator()
    await world.serve({"abroad": at(abroad, location="us"), "here": at(here)})
    url = f"{world.house.url}/v1"
    assert set((await llm("openai", "endpoint", url, "--models")).out.split()) == {"chat", "abroad", "here"}
    ran = await llm("openai", "endpoint", url, "Hello", "-m", "chat", "-H", "x-data-sensitivity", "restricted")
    assert ran.out.startswith("I am a simulator"), ran
    assert (len(abroad.requests), len(here.requests)) == (0, 1)


async def test_text_becomes_a_vector(world: World, llm: Llm) -> None:
    await world.serve({"text-embedding-3-small": at(await world.simulator())})
    ran = await llm("embed", "-m", "3-small", "--key", "unused", "-c", "Hello")
    assert len(json.loads(ran.out)) == 1536, ran


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--key", "hg-wrong", "-m", "chat"], "keys are this gateway's own (`headgate keys create`)"),
        (["--key", "hg-right", "-m", "caht"], "model 'caht' does not exist; did you mean 'chat'?"),
    ],
    ids=["key", "model"],
)
async def test_an_error_is_printed_in_our_words(world: World, llm: Llm, arguments: list[str], said: str) -> None:
    hashed = hashlib.sha256(b"hg-right").hexdigest()
    keys = [{"name": "right", "hash": f"sha256:{hashed}"}]
    await world.serve({"only": at(await world.simulator())}, auth="keys", keys=keys)
    ran = await llm("openai", "endpoint", f"{world.house.url}/v1", "Hello", *arguments)
    assert ran.status == 1
    assert said in ran.err
    assert "Traceback" not in ran.err
