"""The programs on the pages that need another client than the tests' own do what they say."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.documents.pages import Fence, fences
from tests.sdks.conftest import GENERATIONS, NODE, environment, node, python_of
from tests.stories.house import World, at

ADDRESS = "127.0.0.1:8080"
PROGRAMS = {language: fences(language) for language in ("py", "js")}
COMMANDS = [fence for fence in fences("sh") if "\nllm " in fence.text]


def here(fence: Fence, world: World) -> str:
    """Returns a block's text with the story's gateway in the place of the page's."""
    assert ADDRESS in fence.text
    return fence.text.replace(f"http://{ADDRESS}", world.house.url)


async def output(command: list[str], text: str, cwd: Path, environ: dict[str, str]) -> str:
    """Runs a program that is given to its interpreter as text; returns what it prints."""
    ran = await asyncio.to_thread(
        subprocess.run,
        command,
        input=text,
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_there_is_a_program_or_a_command_for_each_client() -> None:
    text = "".join(fence.text for fence in PROGRAMS["py"])
    assert [name for name in GENERATIONS if name not in text] == []
    assert PROGRAMS["js"]
    assert COMMANDS


@pytest.mark.parametrize("fence", PROGRAMS["py"], ids=str)
async def test_a_program_for_python(world: World, fence: Fence, tmp_path: Path) -> None:
    [generation] = {GENERATIONS[name] for name in GENERATIONS if f" {name}" in fence.text}
    python = python_of(generation)
    await world.serve({"demo": at(await world.simulator())})
    assert (await output([str(python), "-"], here(fence, world), tmp_path, environment())).strip()


@pytest.mark.parametrize("fence", PROGRAMS["js"], ids=str)
async def test_a_program_for_node(world: World, fence: Fence) -> None:
    command = [node(), "--input-type=module", "-"]
    await world.serve({"demo": at(await world.simulator())})
    assert "simulator" in await output(command, here(fence, world), NODE, environment())


@pytest.mark.parametrize("fence", COMMANDS, ids=str)
async def test_commands_of_llm(world: World, fence: Fence, tmp_path: Path) -> None:
    environ = environment(LLM_USER_PATH=str(tmp_path))
    environ["PATH"] = f"{python_of('openai-3').parent}:{environ['PATH']}"
    await world.serve({"demo": at(await world.simulator())})
    assert "simulator" in await output(["bash", "-euo", "pipefail"], here(fence, world), tmp_path, environ)
