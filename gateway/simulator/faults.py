"""Which ways of failing the simulator knows, and how they are asked for.

A fault is written `kind;option=value;…`: after a `!` in the model's name (`demo!cut;after=3`, which passes any
gateway) or in the header `x-simulate` (for a direct caller). Tests hand over `Fault` values instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

KINDS: Final[Mapping[str, str]] = {
    # before an answer
    "reset": "RST before a byte",
    "close": "FIN before a byte",
    "hang": "never a byte, the connection stays open",
    "garbage": "bytes that are not HTTP",
    "early": "the answer (`status`, by default 413) comes before the request's body; by header or by script",
    "slow": "the first token waits for `wait` (by default 2s)",
    # instead of an answer
    "context": "400: the prompt is longer than the context window",
    "quota": "429: the account is out of credit",
    "redirect": "302 to another origin",
    "content-type": "200 with an HTML page",
    "empty": "200 with nothing in it",
    # within an answer; `after` pieces of content have left by then
    "cut": "FIN",
    "cut-reset": "RST",
    "stall": "silence, for `wait` or for ever",
    "comments": "only comment lines any more, for `wait` (by default 60s)",
    "error": "an error event inside the 200",
    "malformed": "one event that is not JSON; the stream goes on",
    "torn": "half an event, then a proper HTTP end",
    "huge": "one event of `size` bytes (by default 4 MiB)",
    "filter": "the provider's content filter ends the answer",
    "abort": "finish `abort`, as vLLM gives when it is shut down",
    # at an answer's end
    "no-done": "no sentinel, but a finish and a proper HTTP end",
    "no-finish": "the sentinel without a finish",
    "no-end": "neither finish nor sentinel, but a proper HTTP end",
    "two-finishes": "the finish twice",
    # all along
    "drip": "byte by byte, one each `every` (by default 1ms)",
    "ok": "no fault, for options alone (`demo!ok;tokens=200`)",
}

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")


class Fault(msgspec.Struct, frozen=True):
    """One way to fail.

    `kind` is one of `KINDS` or an HTTP status from 400 to 599. `after` counts pieces of content that still leave.
    `times`: that many requests fail, those after are fine; None is for ever. `wait_s` is how long a slow start, a
    stall or comments last. `tokens`, `ttft_s` and `tpot_s` shape the answer itself.
    """

    kind: str
    after: int = 2
    times: int | None = None
    wait_s: float | None = None
    every_s: float = 0.001
    size_bytes: int = 4 * 1024 * 1024
    status: int = 413
    retry_after: str | None = None
    retry_after_ms: int | None = None
    code: str | None = None
    message: str | None = None
    tokens: int | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS and not re.fullmatch(r"[45]\d\d", self.kind):
            raise ValueError(f"{self.kind!r} is no fault; there are: {', '.join(KINDS)}, 400 to 599")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Reads `kind;option=value;…`; raises ValueError, naming what it does not know."""
        kind, *options = (part.strip() for part in text.split(";"))
        fields: dict[str, str | int | float] = {}
        for option in options:
            name, _, value = option.partition("=")
            if name not in _OPTIONS:
                raise ValueError(f"{name!r} is no option of a fault; there are: {', '.join(_OPTIONS)}")
            field, read = _OPTIONS[name]
            fields[field] = read(value)
        return msgspec.convert({"kind": kind, **fields}, cls)


def seconds(text: str) -> float:
    """Reads `150ms`, `2s`, `1.5` (seconds) or `1m`; raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration: write 150ms, 2s or 1m")
    return float(match[1]) * {"ms": 0.001, "m": 60.0}.get(match[2], 1.0)


_OPTIONS: Final[Mapping[str, tuple[str, Callable[[str], str | int | float]]]] = {
    "after": ("after", int),
    "times": ("times", int),
    "wait": ("wait_s", seconds),
    "every": ("every_s", seconds),
    "size": ("size_bytes", int),
    "status": ("status", int),
    "retry-after": ("retry_after", str),
    "retry-after-ms": ("retry_after_ms", int),
    "code": ("code", str),
    "message": ("message", str),
    "tokens": ("tokens", int),
    "ttft": ("ttft_s", seconds),
    "tpot": ("tpot_s", seconds),
}
