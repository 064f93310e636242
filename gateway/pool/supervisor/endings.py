"""Why a replica ended, in words for whoever can mend it, and whether trying again can help."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec


class Kind(StrEnum):
    """What an ending asks for."""

    CONFIG = "config"  # it would end the same way again: somebody has to change something
    MEMORY = "memory"  # once more, then as above
    PASSING = "passing"  # it waits for others: the port, the memory, the hub
    CRASH = "crash"  # again, unless it comes too often
    ASKED = "asked"  # replaced by whoever watches over it


class Ending(msgspec.Struct, frozen=True):
    """One ending; `suggestion` is a flag or a setting that may mend it."""

    kind: Kind
    why: str
    suggestion: str = ""

    def __str__(self) -> str:
        return f"{self.why}; try {self.suggestion}" if self.suggestion else self.why


class _Sign(msgspec.Struct, frozen=True):
    pattern: re.Pattern[str]
    kind: Kind
    why: str
    suggestion: str = ""


def _sign(pattern: str, kind: Kind, why: str, suggestion: str = "") -> _Sign:
    return _Sign(re.compile(pattern), kind, why, suggestion)


# The first that any line shows. Of vLLM 0.32 and 0.33, torch, huggingface_hub and argparse; groups go into the words.
_SIGNS: Final = (
    _sign(
        r"the estimated maximum model length is (\d+)",
        Kind.CONFIG,
        "the longest sequence does not fit into the memory that is left for the KV cache",
        "--max-model-len {0}",
    ),
    _sign(
        r"No available memory for the cache blocks",
        Kind.CONFIG,
        "no memory is left for the KV cache",
        "a higher --gpu-memory-utilization, more GPUs per replica, or a smaller model",
    ),
    _sign(
        r"Free memory on device \S+ \(([\d.]+)/([\d.]+) GiB\) on startup is less than desired",
        Kind.PASSING,
        "another process holds the GPU's memory ({0} of {1} GiB are free)",
    ),
    _sign(r"Error in memory profiling", Kind.PASSING, "another process used the GPU's memory meanwhile"),
    _sign(r"(?i)address already in use", Kind.PASSING, "its port is taken by another process"),
    _sign(
        r"(?:OutOfMemoryError|(?:CUDA|HIP) out of memory)",
        Kind.MEMORY,
        "the GPU's memory ran out",
        "a lower --gpu-memory-utilization, a shorter --max-model-len, or more GPUs per replica",
    ),
    _sign(
        r"(?:GatedRepoError|40[13] Client Error|is a gated repo)",
        Kind.CONFIG,
        "the hub does not give out this model without permission",
        "`env: {{HF_TOKEN: …}}` of an account that may have it",
    ),
    _sign(
        r"(?:RepositoryNotFoundError|is not a local folder and is not a valid model|Invalid repository ID or local)",
        Kind.CONFIG,
        "there is no such model, neither a folder here nor at the hub",
    ),
    _sign(r"(?:HfHubHTTPError|50\d Server Error|LocalEntryNotFoundError)", Kind.PASSING, "the hub does not answer"),
    _sign(r"Model architectures (\[.{0,200}?\]) are not supported", Kind.CONFIG, "this vLLM does not know {0}"),
    _sign(r"error: (unrecognized arguments: .{1,300}|argument .{1,300})", Kind.CONFIG, "vLLM refuses a flag: {0}"),
    _sign(r"validation errors? for (\w+)", Kind.CONFIG, "vLLM refuses its {0}"),
)
_VALUE_ERROR: Final = re.compile(r"Value error, (.{1,300}?)(?: \[type=|$)")
_ERROR: Final = re.compile(r"\b((?:[A-Z]\w*Error|Exception): .{1,300})")
_WRAPPER: Final = "Engine core initialization failed"  # it only says that there was a cause


def ending_of(lines: Iterable[str], status: int | None, *, was_ready: bool, oom_killed: bool = False) -> Ending:
    """Reads why a process ended out of what it said and how it ended.

    `status` is None where that is not known. Of one that has served, lines are not quoted: they may speak of prompts.
    `oom_killed`: the kernel has ended processes for lack of memory since it was launched.
    """
    told = list(lines)
    for sign in _SIGNS:
        found = next((found for line in told if (found := sign.pattern.search(line))), None)
        if found is not None and not (was_ready and sign.kind is Kind.CONFIG):
            words = found.groups()
            return Ending(sign.kind, sign.why.format(*words) + _detail(sign, told), sign.suggestion.format(*words))
    if oom_killed and status in (None, -9, 1):
        return Ending(Kind.MEMORY, "the machine's memory ran out", "fewer replicas, or a smaller --swap-space")
    if not was_ready and (error := _last_error(told)):
        return Ending(Kind.CRASH, error)
    if status is None:
        return Ending(Kind.CRASH, "its engine died" if told else "it ended")
    if status < 0:
        return Ending(Kind.CRASH, f"it was killed by signal {-status}")
    return Ending(Kind.CRASH, f"it ended by itself with status {status}")


def _detail(sign: _Sign, told: Sequence[str]) -> str:
    """Returns what pydantic found wrong, which stands on a line of its own."""
    if "validation" not in sign.pattern.pattern:
        return ""
    found = next((found for line in told if (found := _VALUE_ERROR.search(line))), None)
    return f": {found[1]}" if found is not None else ""


def _last_error(told: Sequence[str]) -> str:
    for line in reversed(told):
        found = _ERROR.search(line)
        if found is not None and _WRAPPER not in line:
            return found[1]
    return ""
