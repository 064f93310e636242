"""vLLM on a CPU, in an environment of its own under `build/pool`, and the tiny model that it serves.

Everything is made once; what is there and came from the same recipe is left alone. Nothing in it may be a CUDA
package: they are gigabytes that a CPU has no use for.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
FOLDER: Final = HERE.parents[1] / "build" / "pool"
VENV: Final = FOLDER / "venv"
MODEL: Final = FOLDER / "tiny"
PYTHON: Final = VENV / "bin" / "python"

TORCH: Final = "2.13.0+cpu"
VLLM: Final = "0.32.0"
_LOCK: Final = HERE / "requirements.lock"
# Of CUDA; torchvision, torchaudio and torchcodec among them, since their builds for it break vLLM's import.
_FOREIGN: Final = re.compile(r"^(nvidia|cuda|triton|torch)[a-z0-9_-]*", re.MULTILINE)

# vLLM asks importlib for its own version by the name `vllm`, and the CPU build is distributed under another.
_METADATA: Final = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM}+cpu\n"


class Unavailable(Exception):
    """Real vLLM cannot be had on this machine; says why."""


def make() -> None:
    """Makes the environment and the model where they are not there yet; raises Unavailable where that cannot be."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    _once(VENV, "\n".join((sys.version, TORCH, _METADATA, _LOCK.read_text())), _install)
    _once(MODEL, "\n".join((TORCH, (HERE / "tiny.py").read_text())), _write_model)


def versions() -> dict[str, str]:
    """Returns what is installed: vLLM, torch, transformers and Python."""
    script = (
        "import platform; from importlib.metadata import version as v;"
        "print(v('vllm'), v('torch'), v('transformers'), platform.python_version())"
    )
    told = subprocess.run([PYTHON, "-c", script], env=environ(), capture_output=True, text=True, check=True).stdout
    return dict(zip(("vLLM", "torch", "transformers", "CPython"), told.split(), strict=True))


def environ() -> Mapping[str, str]:
    """Returns the environment of whatever runs in there: offline, one thread, its caches in our folder."""
    return os.environ | {
        "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else every replica binds itself to the same core
        "OMP_NUM_THREADS": "1",
        # The first call for log-probabilities compiled C++ for 20 s, which takes a compiler and gains nothing here.
        "TORCH_COMPILE_DISABLE": "1",
        "XDG_CACHE_HOME": str(FOLDER / "cache"),
    }


def _once(place: Path, recipe: str, build: Callable[[], None]) -> None:
    """Builds a folder anew unless the mark in it says that this recipe made it, to its end."""
    mark = place / ".made-by"
    digest = hashlib.sha256(recipe.encode()).hexdigest()
    if mark.is_file() and mark.read_text() == digest:
        return
    shutil.rmtree(place, ignore_errors=True)
    build()
    mark.write_text(digest)


def _install() -> None:
    foreign = _FOREIGN.search(_LOCK.read_text())
    if foreign is not None:
        raise AssertionError(f"{_LOCK.name} brings {foreign[0]}")
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    print(f"installing torch {TORCH} and vLLM {VLLM} into {VENV.relative_to(Path.cwd())} …", flush=True)
    torch = _pip("--no-deps", f"torch=={TORCH}")
    if "No matching distribution" in torch.stderr:
        raise Unavailable(
            f"torch {TORCH}, the CPU build, is not to be had from the package indexes that pip knows here"
        )
    for done in (torch, _pip("--no-deps", "--require-hashes", "-r", str(_LOCK))):
        if done.returncode:
            raise RuntimeError(f"pip failed:\n{done.stderr}")
    packages = next((VENV / "lib").glob("python3*/site-packages"))
    named = packages / f"vllm-{VLLM}.dist-info"
    named.mkdir()
    (named / "METADATA").write_text(_METADATA)


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _write_model() -> None:
    done = subprocess.run([PYTHON, HERE / "tiny.py", MODEL], env=environ(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the model could not be written:\n{done.stderr}")
