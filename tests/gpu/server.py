"""One vLLM server as a process group of its own: started, waited for, killed, frozen, read. Real or simulated."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.gpu.environment import NAME

READY_WITHIN_S: Final = 900.0
_OPEN: Final = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Server:
    """`command` is what stands before `serve`; `flags` what comes after the model."""

    def __init__(
        self, command: Sequence[str], model: Path, log: Path, flags: Sequence[str], environ: Mapping[str, str]
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._command = [
            *command, "serve", str(model), f"--port={self.port}", "--host=127.0.0.1", f"--served-model-name={NAME}",
            "--load-format=dummy", *flags,
        ]  # fmt: skip
        self._environ = os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"} | dict(environ)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; `wait` says when it serves."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait(self) -> float:
        """Returns once it answers, and after how many seconds; raises RuntimeError with the end of its log."""
        began = time.monotonic()
        body = b'{"model":"%b","prompt":"w2","max_tokens":1}' % NAME.encode()
        while True:
            with suppress(OSError):
                headers = {"content-type": "application/json"}
                with _OPEN(urllib.request.Request(f"{self.url}/v1/completions", body, headers), timeout=30):
                    return time.monotonic() - began
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() - began > READY_WITHIN_S:
                told = self.log.read_text(errors="replace").splitlines()[-30:]
                raise RuntimeError("vLLM did not come up:\n" + "\n".join(told))
            time.sleep(0.1)

    def metrics(self) -> str:
        """Returns its /metrics."""
        with _OPEN(f"{self.url}/metrics", timeout=30) as page:
            told: bytes = page.read()
        return told.decode()

    def kill(self) -> None:
        """Ends all of its processes at once, whatever they are at."""
        if self._process is not None:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stops its processes where they are: the port is open, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
