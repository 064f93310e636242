"""A replica's output: followed in its file, the last lines of it kept in memory."""

from __future__ import annotations

import os
import re
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

KEPT_LINES: Final = 2000
LONGEST_LINE: Final = 2000  # characters
LARGEST_FILE: Final = 64 * 1024 * 1024  # bytes: then it begins anew
_AT_ONCE: Final = 1024 * 1024
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ENDS: Final = re.compile(rb"[\r\n]+")  # a progress bar rewrites its line


class Log:
    """Follows one file. What is written to it is appended, so that it can be cut under its writer's hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._offset = 0
        self._rest = b""

    def renew(self) -> None:
        """Begins a new file for a new process; the one before is kept beside it."""
        with suppress(FileNotFoundError):
            os.replace(self.path, self.path.with_name(self.path.name + ".1"))
        self.lines.clear()
        self._offset, self._rest = 0, b""

    def read(self) -> list[str]:
        """Returns the lines that have come since."""
        new: list[str] = []
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(_AT_ONCE)
        except OSError:
            return new
        self._offset += len(data)
        *whole, self._rest = _ENDS.split(self._rest + data)
        self._rest = self._rest[-4 * LONGEST_LINE :]
        for raw in whole:
            line = _COLOURS.sub("", raw.decode("utf-8", "replace")).rstrip()[:LONGEST_LINE]
            if line:
                new.append(line)
        self.lines.extend(new)
        if self._offset > LARGEST_FILE and len(data) < _AT_ONCE:
            with suppress(OSError):
                os.truncate(self.path, 0)
                self._offset = 0
        return new
