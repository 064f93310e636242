"""The run itself: vLLM alone against vLLM behind the gateway, sizing against what was measured, harm and recovery."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.pool.planner.calibrate import Live, read_log, read_metrics
from tests.gpu.environment import CONFIG, FOLDER, NAME, Gpu, gpu, vllm, write_model
from tests.gpu.load import Seen, load, stream
from tests.gpu.server import Server
from tests.gpu.sizing import Run, compare
from tests.gpu.table import Held, Report
from tests.stories.house import House, Place, config_of

THROUGHPUT: Final = 0.98  # of vLLM alone
ADDED_TTFT_S: Final = 0.002
GIVEN_UP_S: Final = 3.0  # without a word for so long, a server is given up
BACK_WITHIN_S: Final = 10.0  # once it serves again: longest_rest below, and a call that tries it
_SIMULATED: Final = [sys.executable, "-m", "gateway.simulator.vllm_process"]


@dataclass(frozen=True)
class Size:
    """How much is asked: callers at once, tokens in and out, seconds of each round, rounds, calls one by one."""

    callers: int = 64
    prompt_tokens: int = 512
    output_tokens: int = 256
    round_s: float = 30.0
    rounds: int = 3
    singles: int = 100


DRY: Final = Size(callers=4, prompt_tokens=64, output_tokens=8, round_s=1.0, rounds=1, singles=10)


@dataclass(frozen=True)
class Kind:
    """What is run: the command that is vLLM, the GPU it has (None: simulated), flags and surroundings."""

    command: Sequence[str]
    gpu: Gpu | None
    environ: dict[str, str]

    @property
    def sized(self) -> str:
        """The GPU in the words of `headgate size`; simulated, the one that the simulator's log tells of."""
        return self.gpu.sized if self.gpu is not None else "h100"

    def server(self, model: Path, folder: Path, name: str, utilisation: float) -> Server:
        """Returns a server that may take so much of the GPU's memory."""
        flags = [f"--gpu-memory-utilization={utilisation}", "--max-model-len=8192", "--disable-uvicorn-access-log"]
        return Server(self.command, model, folder / f"{name}.log", flags, self.environ)


def real() -> Kind:
    """Returns what there is of GPU and vLLM; raises Unavailable."""
    found = gpu()
    return Kind(vllm(), found, {})


def simulated() -> Kind:
    """Returns the simulator's process, which starts and ends as vLLM does and has no model."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    return Kind(_SIMULATED, None, {"PYTHONPATH": path.rstrip(os.pathsep)})


def run(kind: Kind, size: Size) -> Report:
    """Runs everything; returns what was found. Fails where a server does not come up."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    config = dict(CONFIG) if kind.gpu is not None else {**CONFIG, "vocab_size": 1000}
    model = write_model(FOLDER / ("model" if kind.gpu is not None else "dry"), config)
    on = f"{kind.gpu.name}, {kind.gpu.memory_mib:,} MiB" if kind.gpu is not None else "The simulator's vLLM, no GPU"
    report = Report(
        f"{on}: {size.callers} callers, {size.prompt_tokens} tokens in, {size.output_tokens} out, {size.rounds} rounds "
        f"of {size.round_s:g} s each way."
    )
    with tempfile.TemporaryDirectory() as folder:
        _beside(kind, size, model, Path(folder), report)
        _harm(kind, size, model, Path(folder), report)
    return report


@contextmanager
def _serving(servers: Sequence[Server], folder: Path) -> Iterator[House]:
    """Yields a gateway in front of servers that serve; all of them end with the context."""
    house = House(folder)
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait()
        provider = {
            "kind": "vllm",
            "endpoints": [f"{server.url}/v1" for server in servers],
            "timeouts": {"connect": "1s", "first_token": f"{GIVEN_UP_S:g}s", "idle": f"{GIVEN_UP_S:g}s"},
        }
        place = Place(provider, {"model": NAME, "price": {"input": "1", "output": "1"}})
        folder.mkdir(exist_ok=True)
        house.start(config_of({"pool": place}, breakers={"rest": "500ms", "longest_rest": "2s"}))
        yield house
    finally:
        house.kill()
        for server in servers:
            server.kill()


def _beside(kind: Kind, size: Size, model: Path, folder: Path, report: Report) -> None:
    """Measures one server alone and behind the gateway, in turns, and holds sizing against it."""
    server = kind.server(model, folder, "alone", 0.92)
    with _serving([server], folder / "beside") as house:
        alone, behind, live = asyncio.run(_turns(server, house.url, size))
        direct, through = asyncio.run(_singles(server.url, house.url, size))

    def judge(met: bool) -> bool | None:
        return met if kind.gpu is not None else None  # of a simulator speed says nothing

    share = statistics.median(b.tokens_per_s / a.tokens_per_s for a, b in zip(alone, behind, strict=True))
    added = statistics.median(through) - statistics.median(direct)
    speed = statistics.median(each.tokens_per_s for each in alone)
    bar, limit = f"≥ {THROUGHPUT:.0%} of vLLM alone", f"≤ {ADDED_TTFT_S * 1e3:g} ms"
    ttft = [f"{_median(each, 0.5) * 1e3:.0f} and {_median(each, 0.95) * 1e3:.0f} ms" for each in (behind, alone)]
    found = f"{added * 1e3:.2f} ms on {statistics.median(direct) * 1e3:.1f}"
    report.held += [
        Held("throughput behind the gateway", bar, f"{share:.1%} of {speed:,.0f} tokens/s", judge(share >= THROUGHPUT)),
        Held("time to first token added, one call at a time", limit, found, judge(added <= ADDED_TTFT_S)),
        Held("time to first token under load, p50 and p95", "–", " against ".join(ttft), None),
    ]
    endings = sum((each.endings for each in (*alone, *behind)), start=Seen().endings)
    calls = sum(endings.values())
    report.held.append(
        Held("calls answered whole", "all", f"{endings['whole']:,} of {calls:,}", endings["whole"] == calls)
    )
    measured = Run(
        size.callers, size.prompt_tokens, size.output_tokens, speed, statistics.median(direct),
        read_log(server.log.read_text(errors="replace").splitlines()), live,
    )  # fmt: skip
    report.sized = compare(CONFIG, kind.sized, 0.92, measured)


def _median(seen: Sequence[Seen], share: float) -> float:
    return statistics.median(each.ttft_s(share) for each in seen)


async def _turns(server: Server, gateway: str, size: Size) -> tuple[list[Seen], list[Seen], Live]:
    """Alternates, so that a GPU that warms up or throttles favours neither; the first, unmeasured, warms up."""
    alone: list[Seen] = []
    behind: list[Seen] = []
    live = Live()

    async def watched() -> Live:
        """Reads the engine's figures over the middle half of a round, while all callers are at work."""
        await asyncio.sleep(size.round_s / 4)
        before, began = await asyncio.to_thread(server.metrics), time.monotonic()
        await asyncio.sleep(size.round_s / 2)
        return read_metrics(before, await asyncio.to_thread(server.metrics), time.monotonic() - began)

    async def one(url: str, model: str, seed: int) -> Seen:
        until = time.monotonic() + size.round_s
        shape = (size.callers, size.prompt_tokens, size.output_tokens)
        return await load(url, model, *shape, lambda seen: time.monotonic() < until or not seen.streams, seed)

    await one(server.url, NAME, 999)
    for turn in range(size.rounds):
        watching = asyncio.create_task(watched())
        alone.append(await one(server.url, NAME, 2 * turn))
        live = await watching
        behind.append(await one(gateway, "chat", 2 * turn + 1))
    return alone, behind, live


async def _singles(direct: str, gateway: str, size: Size) -> tuple[list[float], list[float]]:
    """Asks one call at a time, here and there in turn; returns the times to first token."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(size.singles):
        for place, (url, model) in enumerate(((direct, NAME), (gateway, "chat"))):
            seen = await stream(url, model, size.prompt_tokens, 2, 10_000_019 + 2 * turn + place)
            if seen.first_at:
                times[place].append(seen.ttft_s)
    return times


def _harm(kind: Kind, size: Size, model: Path, folder: Path, report: Report) -> None:
    """Kills one of two servers under load, then freezes it; holds what callers saw, and that it is asked again."""
    servers = [kind.server(model, folder, name, 0.44) for name in ("first", "second")]
    with _serving(servers, folder / "harm") as house:
        for what in ("killed", "frozen"):
            seen, back_s = asyncio.run(_harmed(house.url, servers[0], what, size))
            endings = seen.endings
            failed = endings["refused"] + endings["false"]
            report.held += [
                Held(f"calls that failed before their first byte, one of two {what} under load", "0",
                     f"{failed} of {sum(endings.values()):,}; {endings['broken']} cut and said so", not failed),
                Held(f"the one that was {what} is asked again", f"≤ {BACK_WITHIN_S:g} s after it serves",
                     f"{back_s:.1f} s", back_s <= BACK_WITHIN_S),
            ]  # fmt: skip


async def _harmed(gateway: str, server: Server, what: str, size: Size) -> tuple[Seen, float]:
    steps = {"ended": False, "back_s": float("inf")}

    async def harm(seen: Seen) -> None:
        try:
            await _more(seen, size.callers)
            if what == "killed":
                server.kill()
                await _more(seen, 2 * size.callers)
                server.start()
            else:
                server.freeze()
                await asyncio.sleep(2 * GIVEN_UP_S)  # what it held has moved on: what it answers later is asked anew
                await _more(seen, size.callers)
                server.thaw()
            await asyncio.to_thread(server.wait)
            began, before = time.monotonic(), _answered(await asyncio.to_thread(server.metrics))
            while time.monotonic() - began < 3 * BACK_WITHIN_S:
                if _answered(await asyncio.to_thread(server.metrics)) > before:
                    steps["back_s"] = time.monotonic() - began
                    break
                await asyncio.sleep(0.1)
        finally:
            steps["ended"] = True

    callers = max(2, size.callers // 4)
    harming: list[asyncio.Task[None]] = []

    def goes_on(seen: Seen) -> bool:
        if not harming:
            harming.append(asyncio.create_task(harm(seen)))
        return not steps["ended"]

    seen = await load(gateway, "chat", callers, size.prompt_tokens, size.output_tokens, goes_on, 77)
    await harming[0]
    return seen, float(steps["back_s"])


async def _more(seen: Seen, calls: int) -> None:
    wanted, until = len(seen.streams) + calls, time.monotonic() + 300
    while len(seen.streams) < wanted and time.monotonic() < until:
        await asyncio.sleep(0.02)


def _answered(page: str) -> float:
    lines = (line for line in page.splitlines() if line.startswith("vllm:request_success_total{"))
    return sum(float(line.rpartition(" ")[2]) for line in lines)
