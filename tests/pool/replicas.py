"""Replicas of the tiny model: vLLM's own server, each in a process group of its own, on a port that it keeps."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx

from tests.pool.environment import FOLDER, MODEL, VENV, environ
from tests.stories.house import NO_TLS

NAME: Final = "tiny"
CONTEXT_WINDOW: Final = 16384
READY_WITHIN_S: Final = 300.0
DRAIN_S: Final = 30
_FLAGS: Final = (
    f"--served-model-name={NAME}",
    "--host=127.0.0.1",
    f"--max-model-len={CONTEXT_WINDOW}",
    "--max-num-seqs=16",
    # In bfloat16 vLLM 0.32's attention runs AMX instructions that its process may not have asked the kernel for yet:
    # where the first prompt was short, the worker died of an illegal instruction (2026-11, with AMX and torch 2.13.0).
    "--dtype=float32",
    "--enforce-eager",
    f"--shutdown-timeout={DRAIN_S}",
    "--enable-auto-tool-choice",
    "--tool-call-parser=hermes",
    # A model that draws its tokens at random fills any room for white space with it.
    '--structured-outputs-config={"backend":"xgrammar","disable_any_whitespace":true}',
    "--enable-prompt-tokens-details",  # the supervisor sets it, too: what came from the cache is told
    "--disable-uvicorn-access-log",
)


class Replica:
    """One vLLM: an API server, an engine and a worker, which live and die together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log = FOLDER / f"{name}.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self._http = httpx.Client(base_url=self.url, timeout=30, verify=NO_TLS)
        self._process: subprocess.Popen[bytes] | None = None

    # -- its life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the processes; `wait` says when they serve."""
        command = [VENV / "bin" / "vllm", "serve", MODEL, f"--port={self.url.rpartition(':')[2]}", *_FLAGS]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=FOLDER, env=environ(), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._mark.write_text(str(self._process.pid))

    def wait(self) -> None:
        """Returns once an answer of one token has come; fails where the server ends before it, or takes too long."""
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._answers():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                told = self.log.read_text(errors="replace").splitlines()[-30:]
                raise AssertionError(f"replica {self.name} did not come up:\n" + "\n".join(told))
            time.sleep(0.25)

    def kill(self) -> None:
        """Ends all of its processes at once, whatever they are at."""
        if self._process is not None:
            _end(self._process.pid)
            self._process.wait()
            self._process = None
        self._mark.unlink(missing_ok=True)

    def terminate(self) -> None:
        """Asks its server to end as an operator would: what is open may finish."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    @property
    def ended(self) -> bool:
        """Whether its server has ended."""
        return self._process is None or self._process.poll() is not None

    def freeze(self, everything: bool) -> None:
        """Stops its processes where they are, or all but its server, which still says that it is healthy."""
        assert self._process is not None
        for process in _group(self._process.pid):
            if everything or process != self._process.pid:
                os.kill(process, signal.SIGSTOP)

    def restore(self) -> None:
        """Lets its processes go on, or starts them again where they have ended; returns when it serves."""
        if self.ended:
            self.kill()
            self.start()
        else:
            assert self._process is not None
            for process in _group(self._process.pid):
                os.kill(process, signal.SIGCONT)
        self.wait()

    def close(self) -> None:
        """Ends it and what was held for it."""
        self.kill()
        self._http.close()

    # -- what it says of itself --------------------------------------------------------------------------------------

    def gauge(self, name: str, **labels: str) -> float:
        """Returns the sum of a metric's lines that have these labels."""
        page = self._http.get("/metrics").raise_for_status().text
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = [line for line in page.splitlines() if line.startswith(f"vllm:{name}{{")]
        assert lines, f"vLLM has no metric {name}"
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in wanted))

    @property
    def running(self) -> int:
        """Requests that its engine works on."""
        return int(self.gauge("num_requests_running"))

    @property
    def answered(self) -> int:
        """Requests that it has answered whole."""
        return int(sum(self.gauge("request_success_total", finished_reason=reason) for reason in ("stop", "length")))

    @property
    def healthy(self) -> bool:
        """What its `/health` says."""
        return self._http.get("/health").status_code == 200

    def ask(self, body: object, path: str = "/v1/chat/completions") -> httpx.Response:
        """Asks it directly, past the gateway."""
        return self._http.post(path, json=body)

    # ----------------------------------------------------------------------------------------------------------------

    @property
    def _mark(self) -> Path:
        return FOLDER / f"{self.name}.pid"

    def _answers(self) -> bool:
        try:
            return self.ask({"model": NAME, "prompt": "a", "max_tokens": 1}, "/v1/completions").status_code == 200
        except httpx.TransportError:
            return False


def start_all(names: Sequence[str]) -> list[Replica]:
    """Starts replicas side by side, and returns them when all serve; none is left behind where one does not."""
    for mark in FOLDER.glob("*.pid"):  # of a run that was killed
        _end(int(mark.read_text()))
        mark.unlink()
    replicas = [Replica(name) for name in names]
    try:
        for replica in replicas:
            replica.log.unlink(missing_ok=True)
            replica.start()
        for replica in replicas:
            replica.wait()
    except BaseException:
        for replica in replicas:
            replica.close()
        raise
    return replicas


def _end(leader: int) -> None:
    """Kills what is left of a replica's process group, and nothing that has merely got its number since."""
    for process in _group(leader):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _group(leader: int) -> list[int]:
    """Returns the processes of a group that run in the pool's environment or name themselves after vLLM."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        process = int(folder.name)
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if os.getpgid(process) == leader and (b"VLLM::" in command or os.fsencode(VENV) in command):
                found.append(process)
    return found
