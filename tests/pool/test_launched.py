"""Replicas that the gateway launches itself: real vLLM from its first phase to its last, and what it survives.

One pool for all tests, which follow one another: a start takes a minute on an idle machine, and several on a busy one.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest

from tests.gateway.pool.supervisor.places import Pool, swept
from tests.patience import until
from tests.pool import environment
from tests.pool.load import Load
from tests.pool.replicas import CONTEXT_WINDOW, NAME
from tests.stories.house import House, World

READY_WITHIN_S: Final = 900.0  # two starts at once, beside whatever else the machine is at
# See `replicas.py` for why not bfloat16.
ARGS: Final = [
    f"--max-model-len={CONTEXT_WINDOW}",
    "--dtype=float32",
    "--enforce-eager",
    "--disable-uvicorn-access-log",
]
PHASES: Final = ["starting", "loading", "profiling", "capturing", "warming", "ready"]


def config_of(pool: Pool, max_num_seqs: int = 16) -> dict[str, object]:
    """Returns a config with two replicas of the tiny model; without surge, since each takes a GiB or two."""
    return pool.config(
        model=NAME,
        command=[str(environment.VENV / "bin" / "vllm")],
        args=[*ARGS, f"--max-num-seqs={max_num_seqs}"],
        surge=False,
        drain_grace="60s",
    )


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """The pool and its gateway; started, not waited for."""
    if not environment.PYTHON.exists():
        pytest.skip("`make pool-test` installs what these tests need")
    with swept(Pool(House(tmp_path_factory.mktemp("launched")), within_s=READY_WITHIN_S)) as pool:
        pool.settings["model"] = str(environment.MODEL)
        pool.house.start(config_of(pool), environment.environ())
        yield pool
        assert pool.house.stop() == 0
        assert not pool.alive()


@pytest.fixture
async def asked(launched: Pool, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """The gateway, once both replicas are ready."""
    house = launched.house
    request.node.__dict__.setdefault("houses", []).append((house, len(house.said), len(house.log)))
    await launched.ready(2)
    world = World(house)
    yield world
    await world.close()


def engine_of(pool: Pool, slot: str) -> int:
    """Returns the process of a replica's engine, as its own lines name it."""
    found = re.findall(r"\(EngineCore\S* pid=(\d+)\)", (pool.folder / f"{slot}.log").read_text(errors="replace"))
    return int(found[-1])


async def test_a_launch_passes_every_phase_and_answers(launched: Pool, asked: World) -> None:
    for slot in ("0", "1"):
        phases = [event["what"] for event in launched.house.events("pool_event") if event["replica"] == slot]
        assert [phase for phase in phases if phase in PHASES] == PHASES
    got = await asked.chat(max_tokens=5, ignore_eos=True)
    assert (got.status, got.deployment) == (200, "local")
    assert len(launched.pids()) == 2


@pytest.mark.parametrize("victim", ["server", "engine"])
async def test_a_killed_process_costs_no_call_without_a_byte_and_the_replica_comes_back(
    launched: Pool, asked: World, victim: str
) -> None:
    since = len(launched.house.log)
    server = launched.slots()["0"]["pid"]
    before = launched.alive()
    async with Load(asked) as load:
        await load.goes_on(30)
        os.kill(server if victim == "server" else engine_of(launched, "0"), signal.SIGKILL)
        await until(lambda: launched.events("lost", since), 60)
        await load.goes_on(30)
    tried = await load.account()
    assert any(len(each) > 1 for each in tried.values())
    await launched.ready(2)
    assert launched.slots()["0"]["pid"] != server
    # Nothing of the old one is left: its engine and its workers went with its server, or it with them.
    old = {process for process, slot in before.items() if slot == "0"}
    assert len(old) >= 2
    assert not old & launched.alive().keys()
    async with Load(asked) as load:
        await load.goes_on(30)
    assert {each.how for each in load.ended} == {"whole"}


async def test_a_gateway_that_is_killed_is_followed_by_one_that_adopts(launched: Pool, asked: World) -> None:
    pids = launched.pids()
    launched.house.kill()
    launched.house.start(environ=environment.environ())
    await launched.ready(2)
    assert launched.pids() == pids
    assert len(launched.events("adopted")) == 2
    world = World(launched.house)
    assert (await world.chat(max_tokens=5, ignore_eos=True)).status == 200
    await world.close()


async def test_other_flags_are_rolled_out_under_load_and_lose_nothing(launched: Pool, asked: World) -> None:
    before = set(launched.pids())
    async with Load(asked) as load:
        await load.goes_on(20)
        await launched.house.reload(config_of(launched, max_num_seqs=15))
        await until(lambda: not before & set(launched.pids()) and len(launched.pids()) == 2, READY_WITHIN_S)
        await launched.ready(2)
        await load.goes_on(20)
    await load.account()
    assert {each.how for each in load.ended} == {"whole"}
