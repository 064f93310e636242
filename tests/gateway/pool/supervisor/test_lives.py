"""Replicas as real processes: how their starts and ends are read, and what is done about them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from gateway.pool.states import Phase, UnknownReplica
from gateway.pool.supervisor import Deadlines, Refused
from gateway.pool.supervisor.gpus import Facts, Gpu
from gateway.pool.supervisor.processes import Mark, known, marked
from tests.gateway.pool.supervisor.conftest import Bench
from tests.gateway.pool.supervisor.places import WITHIN_S
from tests.patience import until

GIB = 2**30


def told(pid: int, what: str) -> list[str]:
    return Path(f"/proc/{pid}/{what}").read_text().split("\0")


async def test_a_start_has_progress_and_from_the_second_on_an_end_in_sight(bench: Bench) -> None:
    bench.simulate("slow=1200ms")
    bench.launch()
    first = await bench.reach(Phase.PROFILING)
    assert (first.eta_s, bench.standing) == (None, [])
    assert first.progress is not None
    assert 0 < first.progress < 1
    await bench.reach(Phase.READY)
    assert bench.standing == ["0"]
    await bench.supervisor.replace("gpus", "0", "for a test")
    again = await bench.reach(Phase.PROFILING)
    assert again.eta_s is not None
    assert 0 < again.eta_s < 10
    assert bench.pools.standing.retry_after_s(0) > 1
    assert (await bench.reach(Phase.READY)).restarts == 1
    assert [line for line in bench.supervisor.logs("gpus", "0", 500) if "Loading weights took" in line]
    assert len(bench.supervisor.logs("gpus", "0", 3)) == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("max-len=4096", "the longest sequence does not fit into the memory that is left for the KV cache; "
         "try --max-model-len 4096"),
        ("no-memory", "no memory is left for the KV cache; try a higher --gpu-memory-utilization"),
    ],
)  # fmt: skip
async def test_a_config_that_cannot_work_is_not_tried_again(bench: Bench, fault: str, words: str) -> None:
    bench.simulate(fault)
    bench.launch()
    failed = await bench.reach(Phase.FAILED)
    assert failed.why.startswith(words)
    assert (failed.restarts, failed.pid) == (0, None)
    assert len(bench.events.of("starting")) == 1
    bench.simulate("")
    bench.launch(args=("--max-model-len", "2048"))
    assert (await bench.reach(Phase.READY)).restarts == 0


async def test_memory_that_runs_out_is_tried_once_more(bench: Bench) -> None:
    bench.simulate("oom=load")
    bench.launch()
    failed = await bench.reach(Phase.FAILED)
    assert failed.why.startswith("the GPU's memory ran out; try a lower --gpu-memory-utilization")
    assert len(bench.events.of("starting")) == 2
    bench.simulate("")
    await bench.supervisor.restart("gpus", "0")
    await bench.reach(Phase.READY)


async def test_what_waits_for_others_is_tried_until_it_works(bench: Bench) -> None:
    bench.simulate("busy-gpu")
    bench.launch()
    await until(lambda: len(bench.events.of("lost")) >= 3, WITHIN_S)
    assert bench.events.of("lost")[-1] == "another process holds the GPU's memory (9.1 of 79.2 GiB are free)"
    bench.simulate("")
    await bench.reach(Phase.READY)


async def test_one_that_dies_again_and_again_is_given_up(bench: Bench) -> None:
    bench.simulate("killed=0s")  # with its first prompt
    bench.launch()
    failed = await bench.reach(Phase.FAILED)
    assert (failed.restarts, len(bench.events.of("starting"))) == (5, 6)
    assert bench.pools.standing.away == {"local": "no replica is ready: failed, pending"}


async def test_a_start_that_stands_still_is_ended(bench: Bench) -> None:
    bench.simulate("stuck=load")
    bench.launch(deadlines=Deadlines(load_s=0.3))
    await until(lambda: bench.events.of("lost"), WITHIN_S)
    assert bench.events.of("lost")[0] == "its start was loading for longer than 0 s"


async def test_an_engine_that_fails_unnoticed_by_its_server_is_noticed_here(bench: Bench) -> None:
    bench.simulate("unnoticed=profile")
    bench.launch()
    await until(lambda: bench.events.of("lost"), WITHIN_S)
    assert bench.events.of("lost")[0] == "RuntimeError: CUDA error: an illegal memory access was encountered"


async def test_a_program_that_is_not_there_or_is_no_vllm_says_so(bench: Bench, tmp_path: Path) -> None:
    bench.launch(command=("vllm-that-is-not-there",))
    assert (await bench.reach(Phase.FAILED)).why == "'vllm-that-is-not-there' is not to be found"
    false = tmp_path / "false"
    false.write_text("#!/bin/sh\necho no module named vllm\nexit 3\n")
    false.chmod(0o700)
    bench.launch(command=(str(false),))
    await until(lambda: any("ends with status 3: no module named vllm" in why for why in bench.events.of("failed")))


async def test_what_leaves_its_group_and_its_session_is_ended_with_its_server(bench: Bench) -> None:
    bench.simulate("split=stray")
    bench.launch()
    view = await bench.reach(Phase.READY)
    assert view.pid is not None
    (stray,) = [each for each in marked(Mark.of(bench.folder)) if each.pid != view.pid]
    assert os.getsid(stray.pid) == stray.pid
    os.kill(view.pid, signal.SIGKILL)
    await until(lambda: known(stray.pid) is None, WITHIN_S)
    await bench.reach(Phase.READY)


async def test_a_server_that_does_not_heed_sigterm_is_killed(bench: Bench) -> None:
    bench.simulate("deaf")
    bench.launch()
    view = await bench.reach(Phase.READY)
    assert view.pid is not None
    await bench.supervisor.stop()
    assert known(view.pid) is None


async def test_draining_waits_for_calls_and_lasts_until_somebody_restarts(bench: Bench) -> None:
    bench.launch(replicas=2)
    await bench.reach(Phase.READY, "0")
    await bench.reach(Phase.READY, "1")
    bench.pools.in_flight[bench.origin()] = 1
    await bench.supervisor.drain("gpus", "0")
    await bench.reach(Phase.DRAINING)
    assert bench.standing == ["1"]
    assert bench.view().in_flight == 1
    pid = bench.view().pid
    assert pid is not None
    await asyncio.sleep(0.3)
    assert known(pid) is not None
    del bench.pools.in_flight[bench.origin()]
    await bench.reach(Phase.STOPPED)
    assert known(pid) is None
    await asyncio.sleep(0.3)  # nobody comes in its place
    assert bench.phases() == {"0": Phase.STOPPED, "1": Phase.READY}
    await bench.supervisor.restart("gpus", "0")
    await bench.reach(Phase.READY)
    assert bench.standing == ["0", "1"]


async def test_a_suspect_gets_no_calls_and_can_be_cleared(bench: Bench) -> None:
    bench.launch()
    pid = (await bench.reach(Phase.READY)).pid
    bench.supervisor.suspect("gpus", "0", "its steps stand still")
    assert (bench.view().phase, bench.view().why, bench.standing) == (Phase.SUSPECT, "its steps stand still", [])
    bench.supervisor.cleared("gpus", "0")
    assert (bench.view().phase, bench.view().pid, bench.standing) == (Phase.READY, pid, ["0"])


async def test_scaling_by_hand_holds_until_the_config_changes(bench: Bench) -> None:
    bench.launch()
    await bench.reach(Phase.READY)
    await bench.supervisor.scale("gpus", 2)
    await bench.reach(Phase.READY, "1")
    bench.apply(bench.spec)  # the same config again
    await bench.supervisor.scale("gpus", 0)
    await until(lambda: not bench.phases(), WITHIN_S)
    assert bench.pools.standing.away == {"local": "no replica is ready: stopped"}
    bench.launch(replicas=1, args=("--max-num-seqs", "8"))
    await bench.reach(Phase.READY)


async def test_all_are_restarted_in_turn_and_somebody_always_serves(bench: Bench) -> None:
    bench.launch(replicas=2)
    await bench.reach(Phase.READY, "0")
    await bench.reach(Phase.READY, "1")
    before = {view.pid for view in bench.supervisor.status()}
    await bench.supervisor.restart("gpus", None)
    fewest = 2

    def done() -> bool:
        nonlocal fewest
        fewest = min(fewest, len(bench.standing))
        views = bench.supervisor.status()
        return len(views) == 2 and not before & {view.pid for view in views} and len(bench.standing) == 2

    await until(done, WITHIN_S)
    assert fewest == 2  # each successor served before its predecessor went


async def test_without_surge_the_old_one_goes_first(bench: Bench) -> None:
    bench.launch(surge=False)
    await bench.reach(Phase.READY)
    bench.launch(surge=False, args=("--max-num-seqs", "8"))
    most = 0

    def done() -> bool:
        nonlocal most
        views = bench.supervisor.status()
        most = max(most, sum(view.pid is not None for view in views))
        return [view.config_hash for view in views if view.phase is Phase.READY] == [bench.spec.hash]

    await until(done, WITHIN_S)
    assert most == 1


async def test_gpus_are_given_and_waited_for(bench: Bench) -> None:
    gpus = [Gpu(str(number), "H100", 80 * GIB, 80 * GIB) for number in range(3)]
    bench.gpus.facts = Facts(tuple(gpus))
    bench.launch(replicas=2, gpus=2)
    ready = await bench.reach(Phase.READY, "0")
    assert len(ready.gpus) == 2
    assert ready.pid is not None
    assert f"CUDA_VISIBLE_DEVICES={','.join(ready.gpus)}" in told(ready.pid, "environ")
    command = told(ready.pid, "cmdline")
    assert command[command.index("--tensor-parallel-size") + 1] == "2"
    waits = await bench.reach(Phase.PENDING, "1")
    await until(lambda: bench.view("1").why == "waits for 2 GPUs with 92% of the memory free, of 3 that NVML shows")
    assert waits.gpus == ()
    bench.gpus.facts = Facts((*gpus, Gpu("3", "H100", 80 * GIB, 80 * GIB)))
    second = await bench.reach(Phase.READY, "1")
    assert not set(second.gpus) & set(ready.gpus)


async def test_what_there_is_not_is_said(bench: Bench) -> None:
    bench.launch()
    with pytest.raises(UnknownReplica, match="no pool 'gpu' is launched here: gpus"):
        bench.supervisor.suspect("gpu", "0", "")
    with pytest.raises(UnknownReplica, match="pool 'gpus' has no replica '7'"):
        bench.supervisor.logs("gpus", "7", 1)


async def test_a_folder_that_cannot_be_written_refuses_the_config(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spec = type(bench.spec)("gpus", "m", ("m",), tmp_path / "file" / "gpus")
    with pytest.raises(Refused, match="its state cannot be kept in"):
        bench.supervisor.prepare({"gpus": spec})
