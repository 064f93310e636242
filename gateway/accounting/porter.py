"""Carries receipts in a process of its own: laid out beside calls, they would take the interpreter's lock from those.

docs/decisions/0023 says what was measured. The process begins with the first segment that is worth it and ends where
none has come for a while, with its parent, or by dying; then the next begins. It holds no state: what it was at is
carried again.

It runs where its core has nothing else to do (SCHED_IDLE), and so no call waits for it. Where it is not done in a
while, calls leave it too little, and another takes its place, which runs as the thread does that asked for it: a
process without privileges cannot be raised again.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

import msgspec

from gateway.state.protocols import StoreUnavailable

_IDLE_S: Final = 60.0
_PATIENCE: Final = 20  # tenths of a second for a load: the receipts of a busy second take a tenth of one, a start too
_EASE: Final = 1 / 3  # of its core: beside calls that take all they can it has a quarter, at nice 5


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which store, and which journal's directory; a URL holds a password, so this goes through a pipe."""

    directory: str
    path: str | None = None
    url: str | None = None


class Load(msgspec.Struct, frozen=True, omit_defaults=True):
    """Segments to carry, each a path."""

    segments: list[str]
    inherited: bool = False


class Carried(msgspec.Struct, frozen=True, omit_defaults=True):
    """That they were, and why lines were rejected; or the `trouble` that kept the store from taking them.

    `share` is how much of a core it took, of what there is: 0 to 1.
    """

    rejected: list[str] = []
    trouble: str | None = None
    share: float = 0.0


class PorterGone(Exception):
    """The process could not be started, or died at work."""


class Porter:
    """Has segments carried by a process that `module` is the program of (a Carries); not for several threads at once.

    Raises PorterGone too: whoever asked may then carry them.
    """

    def __init__(self, module: str, place: Place) -> None:
        self._command = [sys.executable, "-P", "-m", module]
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self._hurried = self._eased = False
        self._used_at = 0.0

    def carry(self, segments: Sequence[Path], *, inherited: bool = False) -> list[str]:
        """Has segments carried; see Carries. Blocks."""
        load = msgspec.json.encode(Load([str(each) for each in segments], inherited))
        if self._hurried and self._eased:
            self.end()
        try:
            process = self._process or self._begin(hurried=False)
            answers = _say(process, load)
            if not self._hurried and not _readable(answers, _PATIENCE):
                self.end()
                answers = _say(self._begin(hurried=True), load)
            answer = answers.readline()
        except OSError as error:
            self.end()
            raise PorterGone(str(error)) from error
        if not answer.endswith(b"\n"):
            self.end()
            raise PorterGone("it ended before it answered")
        self._used_at = time.monotonic()
        carried = msgspec.json.decode(answer, type=Carried)
        self._eased = carried.share > _EASE
        if carried.trouble is not None:
            raise StoreUnavailable(carried.trouble)
        return carried.rejected

    def rest(self) -> None:
        """Ends the process where it has had nothing to do for a while."""
        if self._process is not None and time.monotonic() - self._used_at > _IDLE_S:
            self.end()

    def end(self) -> None:
        """Ends the process, if there is one, and waits for it."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError), process:  # which closes its pipes, whatever was still to be said
                process.kill()  # a transaction that it was in is undone

    def _begin(self, *, hurried: bool) -> subprocess.Popen[bytes]:
        process = self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._hurried = hurried
        if not hurried:
            with contextlib.suppress(OSError):  # a sandbox may forbid it; then it runs as it is
                os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
        _say(process, msgspec.json.encode(self._place))
        return process


def _say(process: subprocess.Popen[bytes], line: bytes) -> IO[bytes]:
    """Says a line, and returns where the answer to it will be."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + b"\n")
    process.stdin.flush()
    return process.stdout


def _readable(pipe: IO[bytes], tenths_s: int) -> bool:
    """Waits until a pipe can be read; in steps, so that a machine that slept meanwhile has not used up the time."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return any(poll.poll(100) for _ in range(tenths_s))
