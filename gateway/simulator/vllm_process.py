"""A process that starts, serves and ends as `vllm serve` does, without a model: what supervisors are tested against.

    python -m gateway.simulator.vllm_process serve MODEL --port 8000 --shutdown-timeout 30

It takes vLLM's flags (those that mean nothing here are ignored), prints the lines of vLLM's start-up phases, binds its
port before its engine exists, and ends on SIGTERM as `--shutdown-timeout` says. What shall go wrong stands in the
environment, HEADGATE_SIMULATE: words with a comma between, listed in docs/simulator.md. Lines are those of vLLM 0.33.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NoReturn

import msgspec

from gateway.simulator.faults import seconds
from gateway.simulator.replica import Hardware
from gateway.simulator.server import Simulator
from gateway.simulator.vllm import VERSION

ENVIRONMENT: Final = "HEADGATE_SIMULATE"

# What can go wrong, and how it is asked for; docs/simulator.md shows this.
FAULTS: Final = {
    "slow": "`slow=5s`: the start takes so long, in equal parts for each of its phases",
    "stuck": "`stuck=load` (or `profile`, `graphs`): the start never gets past this phase; the process lives",
    "oom": "`oom=load` or `oom=run`: CUDA runs out of memory while the weights load, or with the first request",
    "no-memory": "no block of KV cache fits: the configuration is wrong, status 1",
    "max-len": "`max-len=4096`: the longest sequence does not fit, and this is the most that would; status 1",
    "busy-gpu": "another process holds the memory still; status 1",
    "killed": "`killed=2s`: the kernel ends the process (status -9) so long after its first request came",
    "hang": "`hang=2s`: the engine stands still so long after the first request came; `/health` goes on saying 200",
    "dead-engine": "`dead-engine=2s`: the engine dies so long after the first request came; then `/health` is 503",
    "deaf": "SIGTERM is not heeded",
    "unnoticed": "`unnoticed=load` (or `profile`, `graphs`): the engine fails in this phase, and its server lives on",
    "split": "the engine is a process of its own: where that dies, so does the server, 5 s later; where the server is "
    "killed, it lives on (`split=stray`: in a session of its own)",
}


class Flags(msgspec.Struct):
    """The flags that mean something here."""

    model: str
    host: str = "127.0.0.1"
    port: int = 8000
    uds: str = ""
    served_model_name: tuple[str, ...] = ()
    shutdown_timeout: float = 0.0
    max_model_len: int = 32768
    max_num_queued_reqs: int | None = None


def read(arguments: Sequence[str]) -> Flags:
    """Reads `serve MODEL --flag value …` as vLLM does: dashes, `=`, several values; unknown flags are ignored."""
    given: dict[str, list[str]] = {}
    model, name = "", ""
    for argument in arguments:
        if argument.startswith("--"):
            flag, _, value = argument[2:].partition("=")
            name = flag.replace("-", "_")
            given[name] = [value] if value else []
        elif name in given and (not given[name] or name in ("served_model_name", "api_key")):
            given[name].append(argument)
        else:
            model = model or argument
    read = Flags(model or "".join(given.get("model", [])))
    for name, values in given.items():
        match name:
            case "served_model_name":
                read.served_model_name = tuple(values)
            case "host" | "uds":
                setattr(read, name, values[0])
            case "port" | "max_model_len" | "max_num_queued_reqs":
                setattr(read, name, int(values[0]))
            case "shutdown_timeout":
                read.shutdown_timeout = float(values[0])
    return read


def wanted(environ: dict[str, str]) -> dict[str, str]:
    """Reads what shall go wrong; raises SystemExit for a word that is none."""
    faults = dict(word.strip().partition("=")[::2] for word in environ.get(ENVIRONMENT, "").split(",") if word.strip())
    for word in faults:
        if word not in FAULTS:
            raise SystemExit(f"{ENVIRONMENT}: {word!r} is no fault; there are: {', '.join(FAULTS)}")
    return faults


class Process:
    """One life: start, serve, end."""

    def __init__(self, flags: Flags, faults: dict[str, str], hardware: Hardware = Hardware()) -> None:  # noqa: B008
        self.flags = flags
        self.faults = faults
        self.hardware = hardware
        self._engine = _fork_engine(stray=faults["split"] == "stray") if "split" in faults else None
        self._ending = asyncio.Event()

    async def live(self) -> int:
        """Returns the process's exit status."""
        try:
            return await self._live()
        finally:
            if self._engine is not None:
                with suppress(ProcessLookupError):
                    os.kill(self._engine, signal.SIGKILL)

    async def _live(self) -> int:
        loop = asyncio.get_running_loop()
        if "deaf" in self.faults:
            loop.add_signal_handler(signal.SIGTERM, lambda: None)
        else:
            loop.add_signal_handler(signal.SIGTERM, self._ending.set)
            loop.add_signal_handler(signal.SIGINT, self._ending.set)
        bound = self._bind()
        start = asyncio.create_task(self._start())
        ending = asyncio.create_task(self._ending.wait())
        await asyncio.wait((start, ending), return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            start.cancel()
            bound.close()
            return 0
        start.result()
        return await self._serve(bound, ending)

    # -- the start -------------------------------------------------------------------------------------------------

    def _bind(self) -> socket.socket:
        """Takes the port before there is an engine: connecting succeeds, and nobody answers yet."""
        flags = self.flags
        bound = socket.socket(socket.AF_UNIX if flags.uds else socket.AF_INET)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(flags.uds or (flags.host, flags.port))
        except OSError as error:
            _fail(f"OSError: [Errno {error.errno}] {os.strerror(error.errno or 0)}")
        bound.listen(1024)
        return bound

    async def _start(self) -> None:
        flags, tokens = self.flags, self.hardware.kv_tokens
        told = flags.uds or f"http://{flags.host}:{flags.port}"
        _say(f"vLLM API server version {VERSION}")
        if "busy-gpu" in self.faults:
            _fail(
                "ValueError: Free memory on device cuda:0 (9.1/79.2 GiB) on startup is less than desired GPU memory"
                " utilization (0.92, 72.86 GiB). Decrease GPU memory utilization or reduce GPU memory used by other"
                " processes."
            )
        _say(f"Starting to load model {flags.model}...", engine=True)
        await self._phase("load")
        if self.faults.get("oom") == "load":
            _fail("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.")
        _say("Loading weights took 1.25 seconds", engine=True)
        _say("Model loading took 15.0 GiB memory and 1.500000 seconds", engine=True)
        await self._phase("profile")
        self._check_memory()
        _say("Available KV cache memory: 56.30 GiB", engine=True)
        most = tokens / flags.max_model_len
        _say(
            f"GPU KV cache size: {tokens:,} tokens, Maximum concurrency for {flags.max_model_len:,} tokens per request:"
            f" {most:.2f}x",
            engine=True,
        )
        await self._phase("graphs")
        _say("Graph capturing finished in 3 secs, took 0.53 GiB", engine=True)
        _say(
            "Free memory on device (78.4/79.2 GiB) on startup. Desired GPU memory utilization is (0.92, 72.86 GiB)."
            " Actual usage is 15.0 GiB for consumed memory, 1.2 GiB for peak activation, 0.53 GiB for CUDAGraph memory."
            " Replace gpu_memory_utilization config with `--kv-cache-memory=60451235840`",
            engine=True,
        )
        _say("init engine (profile, create kv cache, warmup model) took 4.50 s", engine=True)
        _say(f"Starting vLLM server on {told}")

    async def _phase(self, name: str) -> None:
        if self.faults.get("unnoticed") == name:
            _say("EngineCore failed to start.", engine=True, level="ERROR")
            _say("RuntimeError: CUDA error: an illegal memory access was encountered", engine=True, level="ERROR")
            await asyncio.Event().wait()
        if self.faults.get("stuck") == name:
            while True:
                await asyncio.sleep(10)
                _say("Waiting for 1 local, 0 remote core engine proc(s) to start.")
        await asyncio.sleep(seconds(self.faults.get("slow") or "0") / 3)

    def _check_memory(self) -> None:
        if "no-memory" in self.faults:
            _fail(
                "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when"
                " initializing the engine."
            )
        most = int(self.faults.get("max-len") or 0)
        if most and self.flags.max_model_len > most:
            _fail(
                f"ValueError: To serve at least one request with the models's max seq len ({self.flags.max_model_len}),"
                " (12.0 GiB KV cache is needed, which is larger than the available KV cache memory (6.0 GiB). Based on"
                f" the available memory, the estimated maximum model length is {most}. Try increasing"
                " `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine."
            )

    # -- the rest of its life --------------------------------------------------------------------------------------

    async def _serve(self, bound: socket.socket, ending: asyncio.Task[bool]) -> int:
        flags = self.flags
        names = flags.served_model_name or (flags.model,)
        simulator = Simulator(
            flags.host, wire="vllm", models=names, max_queued=flags.max_num_queued_reqs, hardware=self.hardware
        )
        await simulator.listen(bound)
        _uvicorn("Started server process", f"[{os.getpid()}]")
        _uvicorn("Waiting for application startup.")
        _uvicorn("Application startup complete.")
        troubles = asyncio.create_task(self._go_wrong(simulator))
        try:
            await asyncio.wait((ending, troubles), return_when=asyncio.FIRST_COMPLETED)
            if troubles.done():
                return troubles.result()
            return await self._end(simulator)
        finally:
            troubles.cancel()
            await simulator.close()

    async def _go_wrong(self, simulator: Simulator) -> int:
        """Returns the status with which the process ends by itself; ends otherwise only by being cancelled."""
        faults = self.faults
        if self._engine is not None:
            while not _ended(self._engine):
                await asyncio.sleep(0.02)
            self._engine = None
            return await self._die(simulator)
        while not simulator.in_flight:
            await asyncio.sleep(0.005)
        if "killed" in faults:
            await asyncio.sleep(seconds(faults["killed"] or "0"))
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in faults and simulator.driver is not None:
            await asyncio.sleep(seconds(faults["hang"] or "0"))
            simulator.driver.frozen = True
        if "dead-engine" in faults:
            await asyncio.sleep(seconds(faults["dead-engine"] or "0"))
            return await self._die(simulator)
        if faults.get("oom") == "run":
            _say("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.00 GiB.", engine=True, level="ERROR")
            _say("EngineCore encountered a fatal error.", engine=True, level="ERROR")
            return 1
        await asyncio.Event().wait()
        return 0

    async def _die(self, simulator: Simulator) -> int:
        _say("EngineCore encountered a fatal error.", engine=True, level="ERROR")
        simulator.die()
        await asyncio.sleep(5)  # vLLM's watchdog ends the server then
        return 1

    async def _end(self, simulator: Simulator) -> int:
        """Ends as SIGTERM asks: what is running is drained for so long, or given up at once."""
        _say("[shutdown] API server: shutdown triggered")
        limit_s = self.flags.shutdown_timeout
        if limit_s > 0:
            _say(f"[shutdown] EngineCore: draining in-flight requests count={simulator.in_flight}", engine=True)
            simulator.draining = True
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    while simulator.in_flight:
                        await asyncio.sleep(0.01)
        simulator.give_up()
        await asyncio.sleep(0.05)
        _uvicorn("Shutting down")
        return 0


def _fork_engine(*, stray: bool) -> int:
    """Starts a process that does nothing, in the place of an engine; returns its number."""
    child = os.fork()
    if child == 0:
        if stray:
            os.setsid()
        while True:
            signal.pause()
    return child


def _ended(child: int) -> bool:
    return os.waitpid(child, os.WNOHANG) != (0, 0)


def _say(line: str, *, engine: bool = False, level: str = "INFO") -> None:
    who = f"(EngineCore_DP0 pid={os.getpid()}) " if engine else f"(APIServer pid={os.getpid()}) "
    print(f"{who}{level} 11-27 12:00:00 [core.py:1] {line}", flush=True)


def _uvicorn(line: str, more: str = "") -> None:
    print(f"(APIServer pid={os.getpid()}) INFO:     {line} {more}".rstrip(), file=sys.stderr, flush=True)


def _fail(line: str) -> NoReturn:
    """Ends a start as vLLM does: the engine's own words, then those of the server that waited for it."""
    _say("EngineCore failed to start.", engine=True, level="ERROR")
    _say(line, engine=True, level="ERROR")
    print(
        "RuntimeError: Engine core initialization failed. See root cause above."
        " Failed core proc(s): {'EngineCore_DP0': 1}",
        file=sys.stderr,
        flush=True,
    )
    raise SystemExit(1)


def main(arguments: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    if "--version" in arguments:
        print(VERSION)
        return 0
    if any(argument.startswith("--help") for argument in arguments) or not arguments or arguments[0] != "serve":
        print("usage: vllm serve [model_tag] " + " ".join(f"[--{flag}]" for flag in _HELP))
        return 0
    return asyncio.run(Process(read(arguments[1:]), wanted(dict(os.environ))).live())


# What a supervisor looks for in `--help`: the flags of 0.33 that it may want to set.
_HELP: Final = (
    "host",
    "port",
    "uds",
    "api-key",
    "served-model-name",
    "max-model-len",
    "gpu-memory-utilization",
    "kv-cache-memory-bytes",
    "max-num-seqs",
    "max-num-batched-tokens",
    "tensor-parallel-size",
    "pipeline-parallel-size",
    "data-parallel-size",
    "enable-prefix-caching",
    "enable-prompt-tokens-details",
    "enable-force-include-usage",
    "enable-per-request-metrics",
    "enable-sleep-mode",
    "disable-access-log-for-endpoints",
    "max-num-queued-reqs",
    "max-num-queued-tokens",
    "shutdown-timeout",
    "sse-keep-alive-interval",
    "load-format",
    "generation-config",
    "revision",
)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
