"""After a config was applied: do calls fare worse than before? Then the one before it serves again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from statistics import median
from typing import Final, Literal

import msgspec
import structlog

from gateway.core.errors import CallError, ConfigError
from gateway.state.protocols import StoreUnavailable
from gateway.state.revisions import SampleStore

_log = structlog.get_logger("headgate")

_CALLS: Final = 20  # fewer say nothing
_ERRORS: Final = 5
_MORE_ERRORS: Final = 0.10  # of all calls, beside twice the share before
_UNKNOWN_BEFORE: Final = 0.5  # the share of errors that is too much whatever was before
_SLOWER: Final = 2.0
_SLOWER_S: Final = 0.2
_AT_MOST: Final = 5000  # receipts a look
_LOOKS: Final = 60  # in a window, a second apart at least
# The callers' own faults, and callers who left.
_CALLERS_OWN: Final = frozenset({400, 401, 413, 499})


class Fared(msgspec.Struct, frozen=True):
    """How calls fared: how many, how many of them failed, and the median to their first content, or all, in seconds."""

    calls: int
    errors: int
    median_s: float | None

    @property
    def share(self) -> float:
        """The failed ones' share."""
        return self.errors / self.calls if self.calls else 0.0


class Watching(msgspec.Struct):
    """A watch: over which revision, until when (seconds since the epoch), and what came of it."""

    revision: int
    since: float
    until: float
    state: Literal["watching", "kept", "rolled back", "superseded", "stuck"] = "watching"
    why: str = ""
    before: Fared | None = None
    after: Fared | None = None


class _Line(msgspec.Struct, frozen=True):
    status: int
    config_revision: int = 0
    cache: str = "-"
    ttft_us: int | None = None
    e2e_us: int | None = None


_line: Final = msgspec.json.Decoder(_Line)


class Afterwards:
    """Watches one revision at a time, by the receipts of every gateway of the store.

    `roll_back` is given the revision that fares worse, and why; it raises CallError or ConfigError.
    """

    def __init__(
        self,
        store: SampleStore,
        settle: Callable[[], object],
        serving: Callable[[], int],
        roll_back: Callable[[int, str], Awaitable[None]],
    ) -> None:
        self.watching: Watching | None = None
        self._store = store
        self._settle = settle
        self._serving = serving
        self._roll_back = roll_back
        self._task: asyncio.Task[None] | None = None

    def watch(self, revision: int, window_s: float) -> None:
        """Begins to watch; a watch over another revision ends."""
        if self._task is not None:
            self._task.cancel()
        now = time.time()
        self.watching = Watching(revision, now, now + window_s)
        self._task = asyncio.create_task(self._watch(self.watching, window_s), name="config watch afterwards")

    async def _watch(self, watching: Watching, window_s: float) -> None:
        while watching.state == "watching":
            await asyncio.sleep(min(max(1.0, window_s / _LOOKS), max(0.0, watching.until - time.time()) + 0.01))
            if self._serving() != watching.revision:
                watching.state = "superseded"
                return
            try:
                await asyncio.to_thread(self._look, watching, window_s)
            except StoreUnavailable:
                continue  # whoever reads the store tells of it
            finally:
                over = time.time() >= watching.until
            if watching.why:
                await self._act(watching)
            elif over:
                watching.state = "kept"
                _log.info("config_kept", revision=watching.revision, watched_s=window_s)

    def _look(self, watching: Watching, window_s: float) -> None:
        self._settle()
        if watching.before is None:
            _, bodies = self._store.sample(watching.since - window_s, watching.since, _AT_MOST)
            watching.before = fared(bodies, None)
        _, bodies = self._store.sample(watching.since, time.time(), _AT_MOST)
        watching.after = fared(bodies, watching.revision)
        watching.why = worse(watching.before, watching.after)

    async def _act(self, watching: Watching) -> None:
        try:
            await self._roll_back(watching.revision, watching.why)
        except (CallError, ConfigError, StoreUnavailable) as error:
            watching.state = "stuck"
            _log.error("config_not_rolled_back", revision=watching.revision, why=watching.why, error=str(error))
            return
        watching.state = "rolled back"


def fared(bodies: Iterable[bytes], revision: int | None) -> Fared:
    """Sums receipts, those of one revision alone where it is named."""
    calls = errors = 0
    times: list[float] = []
    for body in bodies:
        line = _line.decode(body)
        if revision is not None and line.config_revision != revision:
            continue
        calls += 1
        if line.status >= 400 and line.status not in _CALLERS_OWN:
            errors += 1
        elif line.cache != "hit" and (took := line.ttft_us or line.e2e_us):
            times.append(took / 1e6)
    return Fared(calls, errors, median(times) if len(times) >= _CALLS else None)


def worse(before: Fared, after: Fared) -> str:
    """Says what is worse after than before, or nothing."""
    if after.calls < _CALLS:
        return ""
    known = before.calls >= _CALLS
    much = max(2 * before.share, before.share + _MORE_ERRORS) if known else _UNKNOWN_BEFORE
    if after.errors >= _ERRORS and after.share >= much:
        was = f"{before.share:.0%} of {before.calls} before" if known else "too few calls before to compare"
        return f"{after.share:.0%} of {after.calls} calls failed, {was}"
    if before.median_s is not None and after.median_s is not None:
        limit = max(_SLOWER * before.median_s, before.median_s + _SLOWER_S)
        if after.median_s > limit:
            return f"calls take {after.median_s:.2f} s (median), {before.median_s:.2f} s before"
    return ""
