"""The peers, Portkey and LiteLLM, in environments of their own under build/bench; their lock files are in peers/."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.configs import KEY
from tests.bench.processes import PROXY_CORE, Contender, running

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "bench"

_LOCKS = Path(__file__).parent / "peers"

# No call home, no file from a network, and what the project's own documentation advises for production.
_LITELLM_ENVIRON = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_TELEMETRY": "False",
}


class NotInstalled(Exception):
    """A peer cannot be had here; says why in a few words."""


@dataclass(frozen=True)
class Peer:
    """An installed peer: its version, and how it is started on a port before an upstream."""

    name: str
    version: str
    start: Callable[[int, int, Path], contextlib.AbstractContextManager[Contender]]


def portkey() -> Peer:
    """Installs Portkey's gateway where it is not yet; raises NotInstalled.

    Its package.json holds @hono/node-server back at 1.14.1: with a newer one every stream is answered with 500
    (https://github.com/Portkey-AI/gateway/issues/1389, 2026-11-20; 1.14.2 fails here too).
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotInstalled("Node is not installed")
    folder = BUILD / "portkey"
    names = ("package.json", "package-lock.json")
    with _once(folder, [_LOCKS / "portkey" / name for name in names]) as missing:
        if missing:
            for name in names:
                shutil.copy(_LOCKS / "portkey" / name, folder)
            _install([npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    program = folder / "node_modules" / "@portkey-ai" / "gateway"
    version = json.loads((program / "package.json").read_text())["version"]
    runtime = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()

    def start(port: int, upstream: int, folder: Path) -> contextlib.AbstractContextManager[Contender]:
        headers = (
            ("authorization", f"Bearer {KEY}"),
            ("x-portkey-provider", "openai"),
            ("x-portkey-custom-host", f"http://127.0.0.1:{upstream}/v1"),
        )
        command = [node, str(program / "build" / "start-server.js"), f"--port={port}", "--headless"]
        contender = Contender("portkey", port, headers=headers, streams=100)
        return running(contender, PROXY_CORE, command, folder, _environ({"NODE_ENV": "production"}))

    return Peer("portkey", f"Portkey {version} on Node {runtime.removeprefix('v')}", start)


def litellm() -> Peer:
    """Installs LiteLLM where it is not yet; raises NotInstalled."""
    lock = _LOCKS / "litellm.lock"
    folder = environment("litellm", lock)
    version = next(line for line in lock.read_text().splitlines() if line.startswith("litellm==")).split()[0][9:]

    def start(port: int, upstream: int, place: Path) -> contextlib.AbstractContextManager[Contender]:
        api = {"model": "openai/bench-model", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "x"}
        config = {
            "model_list": [{"model_name": "bench", "litellm_params": api}],
            "general_settings": {"master_key": KEY},
        }
        file = place / "litellm.yaml"
        file.write_text(json.dumps(config))
        program = [str(folder / "bin" / "litellm"), "--config", str(file), "--num_workers", "1", "--telemetry", "False"]
        contender = Contender("litellm", port, headers=(("authorization", f"Bearer {KEY}"),), streams=16)
        command = [*program, "--host", "127.0.0.1", "--port", str(port)]
        return running(contender, PROXY_CORE, command, place, _environ(_LITELLM_ENVIRON))

    return Peer("litellm", f"LiteLLM {version}", start)


def environment(name: str, lock: Path) -> Path:
    """Makes a virtual environment with what the lock file names, where there is none yet; raises NotInstalled."""
    folder = BUILD / name
    with _once(folder, [lock]) as missing:
        if missing:
            _install([sys.executable, "-m", "venv", str(folder)], folder)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
            # The lock names all there is; pip 23.0 (Debian's) wants a hash for `pydantic[email]` beside pydantic's.
            _install([*pip, "--no-deps", "--require-hashes", "-r", str(lock)], folder)
    return folder


@contextlib.contextmanager
def _once(folder: Path, locks: Sequence[Path]) -> Iterator[bool]:
    """Yields whether the folder must be filled; remembers what filled it, and begins anew when a lock file changes."""
    wanted = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        yield False
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield True
    stamp.write_text(wanted)


def _install(command: Sequence[str], folder: Path) -> None:
    print(f"installing into {folder.relative_to(ROOT)} …", file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        raise NotInstalled("its packages could not be had")


def _environ(extra: dict[str, str]) -> dict[str, str]:
    """The environment of a peer: no provider's key, no outbound proxy, nothing that this machine happens to have."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | extra
