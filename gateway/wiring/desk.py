"""The config as admins see and change it: shown, tried, saved, rolled back, and put to the calls of the last hours."""

from __future__ import annotations

import asyncio
import difflib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
import structlog

from gateway.accounting.costs import query_of
from gateway.config import Loaded
from gateway.config.document import NAME
from gateway.config.edit import Edit, edited
from gateway.config.editable import refused
from gateway.config.load import text_of
from gateway.config.remarks import Remark, remarks_of
from gateway.config.shown import relocated, restored, shown
from gateway.config.writeback import like
from gateway.core.errors import BadRequest, CallError, ConfigError
from gateway.routing import Matrix
from gateway.state.protocols import StoreUnavailable
from gateway.state.revisions import RevisionRow
from gateway.telemetry import names
from gateway.wiring.accounts import BooksAway
from gateway.wiring.afterwards import Afterwards
from gateway.wiring.compile import Compiled
from gateway.wiring.replay import Replay, replay, world_of
from gateway.wiring.revising import Saved
from gateway.wiring.runtime import Runtime, dry_compile
from gateway.wiring.truth import Current

T = TypeVar("T")

_log = structlog.get_logger("headgate")

REPLAYED: Final = 5000  # calls: a second of one core, in slices between the calls that are served
_FAILED_TEST: Final = ": test failed"


class UnknownRevision(CallError):
    """No revision has this number."""

    status = 404
    type = "invalid_request_error"
    code = "revision_not_found"


class Busy(CallError):
    """A dry run is going on; it takes a core, so there is one at a time."""

    status = 429
    type = "rate_limit_error"
    code = "dry_run_going_on"


class Verdict(msgspec.Struct, frozen=True):
    """What would come of a draft. `diff` is against what serves, revision `against`.

    Of `tests`, the config's own, `why` is empty where one passes; None: the draft did not come to be tested.
    """

    ok: bool
    problems: list[Remark]
    warnings: list[Remark]
    notes: list[Remark]
    tests: list[dict[str, Any]] | None
    matrix: Matrix | None
    against: int
    diff: str


class Desk:
    """Works on the running gateway. What blocks says so; the rest belongs to the loop that serves."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._replaying = threading.Lock()
        self.afterwards = Afterwards(
            runtime.store, runtime.services.ledger.settle, lambda: runtime.revising.serving.number, self._fared_worse
        )

    # -- reading ------------------------------------------------------------------------------------------------------

    def current(self) -> dict[str, Any]:
        """Tells what serves, without its secrets, and what keeps another from serving; blocks."""
        runtime = self._runtime
        serving = runtime.revising.serving
        row = self._asked(lambda: runtime.store.revision(serving.number)) if serving.number else None
        return {
            "text": shown(self._text(serving)),
            "revision": _told(row, serving.number) if row is not None else None,
            "number": serving.number,
            "warnings": remarks_of(runtime.compiled.warnings),
            "refused": remarks_of(runtime.reload_problems),
            "not_written": runtime.revising.not_written,
            "watch": self.afterwards.watching,
            "editable": runtime.loaded.config.admin.editable,
        }

    def revisions(self, before: int | None, at_most: int) -> list[dict[str, Any]]:
        """Lists revisions, newest first; blocks."""
        serving = self._runtime.revising.serving.number
        return [_told(row, serving) for row in self._asked(lambda: self._runtime.store.revisions(before, at_most))]

    def revision(self, number: int) -> dict[str, Any]:
        """Tells one revision, with its text and what it changed; blocks. Raises UnknownRevision."""
        row = self._row(number)
        older = self._asked(lambda: self._runtime.store.revision(number - 1))
        before = older.text if older is not None else row.text
        diff = _diff(before, row.text, f"revision {number - 1}", f"revision {number}")
        return _told(row, self._runtime.revising.serving.number) | {"text": row.text, "diff": diff}

    # -- trying -------------------------------------------------------------------------------------------------------

    def validate(self, text: str) -> Verdict:
        """Says what would come of a draft, as it was shown and sent back; blocks."""
        serving = self._runtime.revising.serving
        problems: list[str] = []
        loaded: Loaded | None = None
        compiled: Compiled | None = None
        try:
            _, loaded = self._draft(text, serving)
            problems += self._not_allowed(loaded)
            self._runtime.admit(loaded)
            compiled = dry_compile(loaded, self._runtime.store)
        except ConfigError as error:
            problems += error.problems
        except StoreUnavailable as error:
            raise BooksAway(str(error), retry_after_s=5.0) from error
        warnings = compiled.warnings if compiled is not None else loaded.warnings if loaded is not None else ()
        notes = compiled.notes if compiled is not None else ()
        return Verdict(
            not problems,
            remarks_of(self._as_shown(problems, text, serving)),
            remarks_of(self._as_shown(warnings, text, serving)),
            remarks_of(self._as_shown(notes, text, serving)),
            _tests(loaded, problems) if loaded is not None else None,
            compiled.matrix if compiled is not None else None,
            serving.number,
            _diff(shown(self._text(serving)), text, f"revision {serving.number}", "draft"),
        )

    def edit(self, edits: Sequence[Edit], text: str | None = None) -> str:
        """Returns a shown text (by default of what serves) after edits; blocks. Raises BadRequest."""
        try:
            return edited(text if text is not None else shown(self._text(self._runtime.revising.serving)), edits)
        except (ValueError, ConfigError) as error:  # CannotEdit is one, a NaN and half a character are others
            raise BadRequest(str(error), code="cannot_edit", param="edits") from None
        except RecursionError:
            raise BadRequest("a value is nested too deeply", code="cannot_edit", param="edits") from None

    def dry_run(self, text: str | None, since: str, until: str | None, at_most: int = REPLAYED) -> Replay:
        """Puts the calls of a span through a draft and through what serves; blocks. Raises ConfigError, Busy."""
        span = {"since": since} | ({"until": until} if until is not None else {})
        query = query_of(span, time.time())
        if not self._replaying.acquire(blocking=False):
            raise Busy("a dry run is going on: try again when it has ended", retry_after_s=5.0)
        try:
            runtime, serving = self._runtime, self._runtime.revising.serving
            runtime.services.ledger.settle()
            try:
                keys = runtime.store.keys()
                loaded = self._draft(text, serving)[1] if text is not None else runtime.loaded
                draft = world_of(loaded, dry_compile(loaded, runtime.store).snapshot, keys)
                calls, bodies = runtime.store.sample(query.since, query.until, at_most)
            except StoreUnavailable as error:
                raise BooksAway(str(error), retry_after_s=5.0) from error
            now = world_of(runtime.loaded, runtime.compiled.snapshot, keys)
            return replay(draft, now, bodies, calls, query.since, query.until)
        finally:
            self._replaying.release()

    # -- changing -----------------------------------------------------------------------------------------------------

    async def save(self, text: str, after: int, author: str, note: str, watch_s: float | None = None) -> Saved:
        """Has a draft serve, made from revision `after`; raises ConfigError, Outdated, BooksAway."""
        return await self._save(text, after, author, "admin", note, watch_s)

    async def roll_back(
        self, number: int, after: int | None, author: str, note: str = "", watch_s: float | None = None
    ) -> Saved:
        """Has an old revision's text serve again, as a new one; raises what `save` does, and UnknownRevision."""
        row = await asyncio.to_thread(self._row, number)
        said = f"back to revision {number}" + (f": {note}" if note else "")
        return await self._save(row.text, after, author, "rollback", said, watch_s)

    async def _save(
        self, text: str, after: int | None, author: str, origin: Any, note: str, watch_s: float | None
    ) -> Saved:
        def make(serving: Current) -> tuple[Current, Loaded]:
            draft, loaded = self._draft(text, serving)
            if problems := self._not_allowed(loaded):
                raise ConfigError(problems)
            return draft, loaded

        serving = self._runtime.revising.serving
        note = "".join(each for each in note if each.isprintable()).strip()
        try:
            saved = await self._runtime.revising.save(make, after, author, origin, note)
        except ConfigError as error:
            raise ConfigError(self._as_shown(error.problems, text, serving)) from None
        except StoreUnavailable as error:
            raise BooksAway(str(error), retry_after_s=5.0) from error
        if watch_s is not None and saved.number != serving.number:
            self.afterwards.watch(saved.number, watch_s)
        return saved

    async def _fared_worse(self, revision: int, why: str) -> None:
        saved = await self.roll_back(revision - 1, revision, "headgate", why)
        self._runtime.services.telemetry.metrics.count(names.RELOADS, ("rolled_back",))
        _log.warning("config_rolled_back", revision=revision, to=revision - 1, serving_revision=saved.number, why=why)

    # -----------------------------------------------------------------------------------------------------------------

    def _draft(self, text: str, serving: Current) -> tuple[Current, Loaded]:
        """Returns a shown text as it would serve next; raises ConfigError."""
        whole = restored(text, self._text(serving), NAME)
        draft = Current(like(whole, serving.content), serving.number + 1, NAME)
        return draft, self._runtime.read(draft)

    def _as_shown(self, problems: Sequence[str], text: str, serving: Current) -> list[str]:
        """Returns problems of a draft with their places in the text that was sent."""
        try:
            return relocated(problems, restored(text, self._text(serving), NAME), text)
        except ConfigError:  # it was not restored, and they are of that text
            return list(problems)

    def _not_allowed(self, loaded: Loaded) -> list[str]:
        serving = self._runtime.loaded
        allowed = serving.config.admin
        found = refused(serving.document, loaded.document, allowed.editable, allowed.environment)
        return [f"{NAME}:{line}:{column}: {message}" for (line, column), message in found]

    @staticmethod
    def _text(config: Current) -> str:
        return text_of(config.content, config.name)

    def _row(self, number: int) -> RevisionRow:
        row = self._asked(lambda: self._runtime.store.revision(number))
        if row is None:
            raise UnknownRevision(f"there is no revision {number}")
        return row

    @staticmethod
    def _asked(ask: Callable[[], T]) -> T:
        try:
            return ask()
        except StoreUnavailable as error:
            raise BooksAway(str(error), retry_after_s=5.0) from error


def _told(row: RevisionRow, serving: int) -> dict[str, Any]:
    return {
        "number": row.number,
        "made_at": row.time,
        "author": row.author,
        "origin": row.origin,
        "note": row.note,
        "hash": row.hash,
        "serving": row.number == serving,
    }


def _tests(loaded: Loaded, problems: Sequence[str]) -> list[dict[str, Any]] | None:
    """Returns each policy test and why it failed; None where the draft did not come to be tested."""
    others = [each for each in problems if _FAILED_TEST not in each]
    if others:
        return None
    told = []
    for index in range(len(loaded.config.policies.tests)):
        line, column = loaded.document.place("policies", "tests", index)
        start = f"{NAME}:{line}:{column}{_FAILED_TEST}"
        failed = [each[len(start) :].lstrip(": ") for each in problems if each.startswith(start)]
        told.append({"index": index, "line": line, "why": "; ".join(failed)})
    return told


def _diff(before: str, after: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), old, new, lineterm="")
    return "\n".join(lines)
