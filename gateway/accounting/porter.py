"""Carries receipts in a process of its own: laid out beside calls, they would take the interpreter's lock from those.

docs/decisions/0023 says what was measured. The process begins with the first segment that is worth it and ends where
none has come for a while, with its parent, or by dying; then the next begins. It holds no state: what it was at is
carried again.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from gateway.state.protocols import StoreUnavailable

_IDLE_S: Final = 60.0
NICE: Final = 5  # behind calls, and never so far behind that receipts come in faster than they leave


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
    """That they were, and why lines were rejected; or the `trouble` that kept the store from taking them."""

    rejected: list[str] = []
    trouble: str | None = None


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
        self._used_at = 0.0

    def carry(self, segments: Sequence[Path], *, inherited: bool = False) -> list[str]:
        """Has segments carried; see Carries. Blocks."""
        try:
            process = self._process or self._begin()
            answer = self._ask(process, msgspec.json.encode(Load([str(each) for each in segments], inherited)))
        except OSError as error:
            self.end()
            raise PorterGone(str(error)) from error
        if not answer.endswith(b"\n"):
            self.end()
            raise PorterGone("it ended before it answered")
        self._used_at = time.monotonic()
        carried = msgspec.json.decode(answer, type=Carried)
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

    def _begin(self) -> subprocess.Popen[bytes]:
        process = self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._say(process, msgspec.json.encode(self._place))
        return process

    def _ask(self, process: subprocess.Popen[bytes], load: bytes) -> bytes:
        self._say(process, load)
        assert process.stdout is not None
        return process.stdout.readline()

    def _say(self, process: subprocess.Popen[bytes], line: bytes) -> None:
        assert process.stdin is not None
        process.stdin.write(line + b"\n")
        process.stdin.flush()
