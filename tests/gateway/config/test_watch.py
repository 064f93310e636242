"""The watch: what it sees, what it waits for, and that it can be cancelled."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.config import watch
from tests.patience import WITHIN_S

POLL_S = 0.02


class Changes:
    """Counts calls, and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.count = 0
        self._more = asyncio.Event()

    async def __call__(self) -> None:
        self.count += 1
        self._more.set()

    async def next(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            await self._more.wait()
        self._more.clear()


@asynccontextmanager
async def watching(files: Callable[[], list[Path]], changes: Changes) -> AsyncIterator[None]:
    task = asyncio.create_task(watch(files, changes, poll_s=POLL_S))
    await asyncio.sleep(0)
    await asyncio.sleep(POLL_S / 2)
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_edit_is_seen_once(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("a")
    changes = Changes()
    async with watching(lambda: [file], changes):
        file.write_text("ab")
        await changes.next()
        await asyncio.sleep(POLL_S * 5)
        assert changes.count == 1


async def test_a_file_replaced_by_rename_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("a")
    changes = Changes()
    async with watching(lambda: [file], changes):
        other = tmp_path / "config.new"
        other.write_text("b")
        os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
        other.replace(file)
        await changes.next()


async def test_the_symlink_swap_of_a_mounted_config_map_is_seen(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "config.yaml").write_text(version)
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "config.yaml").symlink_to("..data/config.yaml")
    changes = Changes()
    async with watching(lambda: [tmp_path / "config.yaml"], changes):
        (tmp_path / "..tmp").symlink_to("v2")
        (tmp_path / "..tmp").replace(tmp_path / "..data")
        await changes.next()


async def test_a_file_that_is_still_being_written_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("a")
    looks = 0

    def files() -> list[Path]:
        nonlocal looks
        looks += 1
        if 1 < looks < 8:
            file.write_text("a" * looks)  # another piece between any two looks
        return [file]

    seen_at: list[int] = []

    class Noting(Changes):
        async def __call__(self) -> None:
            seen_at.append(looks)
            await super().__call__()

    changes = Noting()
    async with watching(files, changes):
        await changes.next()
    assert seen_at[0] >= 8


async def test_a_secret_file_that_appears_is_seen(tmp_path: Path) -> None:
    files = [tmp_path / "config.yaml", tmp_path / "key"]
    files[0].write_text("a")
    changes = Changes()
    async with watching(lambda: files, changes):
        files[1].write_text("sk-1")
        await changes.next()


async def test_sighup_loads_again_though_nothing_changed(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("a")
    changes = Changes()
    task = asyncio.create_task(watch(lambda: [file], changes, poll_s=60))
    await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGHUP)
    await changes.next()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
