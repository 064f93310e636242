"""Watches the files of a config, and SIGHUP, and says when it is time to load again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

POLL_S: Final = 1.0

Stamp = tuple[int, int, int, int] | None


async def watch(
    files: Callable[[], Iterable[Path]], changed: Callable[[], Awaitable[None]], *, poll_s: float = POLL_S
) -> None:
    """Calls `changed` after a change of any file, one call at a time, until it is cancelled.

    Polls what each name leads to (mtime, inode, size, device), because a mounted config map changes by the swap of a
    symlink two levels up, which a watch on the file itself never sees. A change counts once two looks agree on it, so
    that no half-written file is read. SIGHUP calls `changed` at once, changed or not, where signals can be caught.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, asked.set)
        signalled = True
    except (ValueError, RuntimeError, NotImplementedError):
        signalled = False
    try:
        loaded = last = _stamps(files())
        while True:
            try:
                async with asyncio.timeout(poll_s):
                    await asked.wait()
            except TimeoutError:
                pass
            now = _stamps(files())
            settled = now == last and now != loaded
            last = now
            if asked.is_set() or settled:
                asked.clear()
                await changed()
                # `changed` read no older state than `now`; a file that is new to the list is not news
                loaded = last = {path: now.get(path, stamp) for path, stamp in _stamps(files()).items()}
    finally:
        if signalled:
            loop.remove_signal_handler(signal.SIGHUP)


def _stamps(files: Iterable[Path]) -> dict[Path, Stamp]:
    return {path: _stamp(path) for path in files}


def _stamp(path: Path) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size, status.st_dev
