"""The command line of a replica: by the flags that the vLLM which is there knows, asked once for each program."""

from __future__ import annotations

import asyncio
import math
import os
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from gateway.pool.supervisor.spec import Spec
from gateway.pool.supervisor.state import write_whole

HOST: Final = "127.0.0.1"
_WITHIN_S: Final = 300.0  # vLLM imports torch before it says anything: 40 s on a small machine
_FLAG: Final = re.compile(r"(?<![\w-])--([a-z][a-z0-9_-]+)")
_VERSION: Final = re.compile(r"\d+\.\d+\S*")

# Of the gateway's environment a replica is given what concerns it: no credential of another provider, no key of ours.
_PASSED: Final = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "TMPDIR", "TERM",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "HEADGATE_SIMULATE",
)  # fmt: skip
_PASSED_PREFIXES: Final = (
    "LANG", "LC_", "LD_", "XDG_", "PYTHON", "VIRTUAL_ENV", "CONDA", "SSL_CERT", "REQUESTS_CA", "CURL_CA",
    "VLLM_", "HF_", "HUGGING", "TRANSFORMERS_", "TORCH", "PYTORCH_", "TRITON_", "CUDA", "NVIDIA_", "NCCL_", "OMP_",
    "MKL_", "HIP_", "ROCR_", "ROCM_", "RAY_", "FLASHINFER_", "TOKENIZERS_",
)  # fmt: skip
# vLLM 0.33 (vllm/envs.py). It closes idle connections after 5 s unless told otherwise, just as the gateway reuses them.
_SET: Final = {"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75", "VLLM_NO_USAGE_STATS": "1"}


class Unusable(Exception):
    """The program cannot be run; says why. `passing`: it may be another time."""

    def __init__(self, why: str, *, passing: bool = False) -> None:
        super().__init__(why)
        self.passing = passing


class Program(msgspec.Struct, frozen=True):
    """What `command` is: vLLM's version, and the flags of its `serve`."""

    version: str
    flags: frozenset[str]


class _Kept(msgspec.Struct):
    key: list[str]
    program: Program


async def probe(spec: Spec, environ: Mapping[str, str]) -> Program:
    """Asks a program for its version and its flags, or remembers what it said; raises Unusable."""
    path = shutil.which(spec.command[0], path=environ.get("PATH"))
    if path is None:
        hint = ": pip install 'headgate[pool]', or say in `command` where it is" if spec.command[0] == "vllm" else ""
        raise Unusable(f"{spec.command[0]!r} is not to be found{hint}")
    status = os.stat(path)
    key = [*spec.command, str(status.st_mtime_ns), str(status.st_size)]
    memory = spec.folder / "program.json"
    with suppress(OSError, msgspec.MsgspecError):
        kept = msgspec.json.decode(memory.read_bytes(), type=_Kept)
        if kept.key == key:
            return kept.program
    version, help = await asyncio.gather(
        _told([*spec.command, "--version"], environ), _told([*spec.command, "serve", "--help=all"], environ)
    )
    flags = frozenset(flag.replace("_", "-") for flag in _FLAG.findall(help))
    if "port" not in flags:
        raise Unusable(f"`{' '.join(spec.command)} serve --help=all` tells of no --port: this is no vLLM")
    found = _VERSION.search(version.strip().rpartition("\n")[2])  # libraries say theirs before
    program = Program(found[0] if found else "unknown", flags)
    with suppress(OSError):
        write_whole(memory, msgspec.json.encode(_Kept(key, program)))
    return program


async def _told(command: Sequence[str], environ: Mapping[str, str]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env=dict(environ), start_new_session=True
        )
    except OSError as error:
        raise Unusable(f"{command[0]!r} cannot be run: {error.strerror}") from None
    try:
        async with asyncio.timeout(_WITHIN_S):
            output, _ = await process.communicate()
    except TimeoutError:
        raise Unusable(f"`{' '.join(command)}` said nothing within {_WITHIN_S:.0f} s", passing=True) from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    text = output.decode("utf-8", "replace")
    if process.returncode:
        last = text.strip().rpartition("\n")[2][:300]
        raise Unusable(f"`{' '.join(command)}` ends with status {process.returncode}: {last}")
    return text


def command_line(spec: Spec, program: Program, port: int, gpus: int) -> list[str]:
    """Returns what a replica is run as; `gpus` are those that it was given, 0 where none were chosen for it."""
    given = {argument.partition("=")[0].lstrip("-").replace("_", "-") for argument in spec.args}
    line = [*spec.command, "serve", spec.model, "--served-model-name", *spec.names, "--host", HOST, "--port", str(port)]
    wanted: dict[str, list[str]] = {
        # Never at its default of 0, with which SIGTERM gives up what is running.
        "shutdown-timeout": [str(math.ceil(spec.drain_s))],
        # What the prefix router learns from, and what receipts tell of the cache.
        "enable-prompt-tokens-details": [],
        # /metrics and /health are asked each second.
        "disable-access-log-for-endpoints": ["/health,/metrics,/ping"],
    }
    if gpus > 1 and not given & _SPREADS:
        wanted["tensor-parallel-size"] = [str(gpus)]
    for flag, values in wanted.items():
        if flag in program.flags and flag not in given:
            line += [f"--{flag}", *values]
    return [*line, *spec.args]


_SPREADS: Final = {
    "tensor-parallel-size", "tp", "pipeline-parallel-size", "pp", "data-parallel-size", "dp",
}  # fmt: skip


def environ_of(environ: Mapping[str, str], spec: Spec, devices: Sequence[str] | None) -> dict[str, str]:
    """Returns a replica's environment; `devices` are the indexes of its GPUs, None where none were chosen for it."""
    passed = {name: value for name, value in environ.items() if name in _PASSED or name.startswith(_PASSED_PREFIXES)}
    # An engine that loads for longer than its server waits for it is given up by vLLM itself, after 600 s.
    patience_s = math.ceil(spec.deadlines.start_s + spec.deadlines.load_s + spec.deadlines.profile_s)
    made = {**passed, **_SET, "VLLM_ENGINE_READY_TIMEOUT_S": str(patience_s)}
    if devices is not None:
        # CUDA counts by speed unless told to count as NVML does.
        made |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(devices)}
    if spec.api_key:
        made["VLLM_API_KEY"] = spec.api_key
    return made | dict(spec.env)
