"""Whose an answer is that is kept: an id belongs to the tenant that it was made for, and to no other.

Noted in this process before the answer's last byte leaves, so that its caller can go on from it at once; written to
the store behind the call, by a thread of its own, so that other processes know it too. The content of what a provider
keeps is nowhere here; that of translated answers is in this process's memory (`content`).
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import structlog

from gateway.core.errors import BadRequest, CallError, Overloaded
from gateway.core.types import Call, Plan, Principal, Sensitivity
from gateway.kept_content import KeptContent, Resumed, tenant_of
from gateway.state.protocols import KeptRow, KeptStore, RowRefused, StoreUnavailable

_log: Final = structlog.get_logger(__name__)

REMEMBERED: Final = 50_000  # ids in this process, some 400 bytes each
UNWRITTEN: Final = 100_000  # ids that may wait for a store that is away; of more the oldest are lost
_ID_CHARACTERS_MAX: Final = 200
_ASK_S: Final = 5.0
_BATCH: Final = 500
_LONGEST_WAIT_S: Final = 30.0
_EXPIRE_EVERY_S: Final = 3600.0

# OpenAI keeps a response for 30 days (https://platform.openai.com/docs/guides/your-data, 2026-11), a conversation until
# it is deleted. Every answer in a conversation notes it anew; one that nobody has used for so long is media again.
LIFETIME_S: Final = 180 * 86_400.0
_RENEW_AFTER_S: Final = 86_400.0


class UnknownAnswer(CallError):
    """There is no such answer, or it is another tenant's: which of both is not told."""

    status = 404
    type = "invalid_request_error"
    code = "response_not_found"


class Standing(msgspec.Struct, frozen=True):
    """What a call's references come to: where it must go, and how sensitive that makes it at least.

    `call` is the call, with what nothing is known of counted as media. `field` names the reference that pins it.
    """

    call: Call
    level: int = 0
    deployment: str | None = None
    field: str = ""

    def raised(self, sensitivity: Sensitivity) -> Sensitivity:
        """Returns the call's sensitivity, at least that of the calls that made what it refers to."""
        if self.level <= sensitivity.level:
            return sensitivity
        return Sensitivity(self.level, (f"the call that made {self.field}",))

    def pinned(self, plan: Plan) -> Plan:
        """Returns the plan with the one deployment that keeps what is referred to; raises BadRequest without it."""
        if self.deployment is None:
            return plan
        kept = tuple(each for each in plan.candidates if each.name == self.deployment)
        if kept:
            return msgspec.structs.replace(plan, candidates=kept, scores=(), note=f"kept there: {self.field}")
        why = next((each.why for each in plan.removed if each.deployment == self.deployment), None)
        why = why or f"route {plan.route!r} does not lead there"
        raise BadRequest(
            f"{self.field} is kept at deployment {self.deployment!r}, where this call may not go now ({why}): "
            "send the items of the conversation in `input`, and `store: false`",
            param=self.field,
            code="response_not_reachable",
        )


class KeptAnswers:
    """Knows ids; `note` is the hot path: no thread, no await."""

    def __init__(self, store: KeptStore, content: KeptContent) -> None:
        self.content = content
        self._store = store
        self._known: OrderedDict[str, KeptRow] = OrderedDict()
        self._unwritten: queue.SimpleQueue[KeptRow | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="headgate-kept-answers", daemon=True)

    def start(self) -> None:
        """Begins to write what is noted."""
        self._thread.start()

    def stop(self) -> None:
        """Writes what waits, where the store takes it, and ends; blocks."""
        self._unwritten.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def note(
        self, ids: Iterable[str], principal: Principal, deployment: str, level: int, levels: Sequence[str]
    ) -> None:
        """Notes that a deployment keeps these for a caller; `level` is that of the call that made them."""
        tenant, now = tenant_of(principal), time.time()
        for name in ids:
            if len(name) > _ID_CHARACTERS_MAX or not name.isprintable():
                continue
            before = self._known.get(name)
            if before is not None and (before.tenant != tenant or _rank(before.sensitivity, levels) > level):
                continue
            row = KeptRow(name, tenant, deployment, levels[level], now)
            if before is None or before[:4] != row[:4] or now - before.time > _RENEW_AFTER_S:
                self._remember(row)
                self._unwritten.put(row)

    async def find(self, name: str, principal: Principal) -> KeptRow | None:
        """Returns what is known of an id to this caller: nothing of another tenant's; raises Overloaded."""
        row = self._known.get(name)
        if row is None:
            if len(name) > _ID_CHARACTERS_MAX or not name.isprintable():
                return None
            try:
                async with asyncio.timeout(_ASK_S):
                    row = await asyncio.to_thread(self._store.kept, name)
            except (StoreUnavailable, TimeoutError):
                raise Overloaded(
                    "whose this response is cannot be found out now: the store is away",
                    code="store_unavailable",
                    retry_after_s=1.0,
                ) from None
            if row is not None:
                self._remember(row)
        return row if row is not None and row.tenant == tenant_of(principal) else None

    async def stand(
        self, call: Call, principal: Principal, levels: Sequence[str], resumed: Resumed | None = None
    ) -> Standing:
        """Finds what a call refers to at providers; what it was `resumed` from stands in it already.

        Raises UnknownAnswer for what is not this tenant's, BadRequest for references that are kept at two places.
        """
        level, deployment, field = 0, None, ""
        if resumed is not None:
            level, field = max(_rank(each, levels) for each in resumed.levels), resumed.field
        for reference in call.references:
            row = await self.find(reference.id, principal)
            if row is None:
                if reference.required or reference.id in self._known:  # found, and another tenant's
                    raise UnknownAnswer(f"{reference.field}: {reference.id[:80]!r} not found", param=reference.field)
                call = msgspec.structs.replace(call, has_media=True)
                continue
            if deployment is not None and row.deployment != deployment:
                raise BadRequest(
                    f"{field} is kept at deployment {deployment!r}, {reference.field} at {row.deployment!r}",
                    param=reference.field,
                )
            level = max(level, _rank(row.sensitivity, levels))
            if deployment is None:
                deployment, field = row.deployment, reference.field
        return Standing(call, level, deployment, field)

    async def forget(self, name: str) -> None:
        """Forgets an id that its provider no longer keeps; raises StoreUnavailable."""
        self._known.pop(name, None)
        await asyncio.to_thread(self._store.forget_kept, name)

    def _remember(self, row: KeptRow) -> None:
        self._known[row.id] = row
        self._known.move_to_end(row.id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        waiting: list[KeptRow] = []
        wait_s, expired_at = 0.0, -_EXPIRE_EVERY_S
        stopping = False
        while not stopping:
            stopping = self._gather(waiting, wait_s)
            try:
                while waiting:
                    self._add(waiting[:_BATCH])
                    del waiting[:_BATCH]
                if time.monotonic() - expired_at > _EXPIRE_EVERY_S:
                    expired_at = time.monotonic()
                    self._store.expire_kept(time.time() - LIFETIME_S)
            except StoreUnavailable as error:
                if not wait_s:
                    _log.warning("kept_answers_wait", error=str(error))
                wait_s = min(max(2 * wait_s, 1.0), _LONGEST_WAIT_S)
                del waiting[:-UNWRITTEN]
            else:
                wait_s = 0.0

    def _gather(self, waiting: list[KeptRow], wait_s: float) -> bool:
        """Waits for something to write, or for a store that is away; says whether nothing comes any more."""
        until = time.monotonic() + wait_s
        timeout: float | None = wait_s if waiting else _EXPIRE_EVERY_S
        while True:
            try:
                row = self._unwritten.get(timeout=timeout)
            except queue.Empty:
                return False
            if row is None:
                return True
            waiting.append(row)
            timeout = max(0.0, until - time.monotonic()) if wait_s else 0.0

    def _add(self, rows: Sequence[KeptRow]) -> None:
        try:
            self._store.add_kept(rows)
        except RowRefused as error:
            if len(rows) == 1:
                _log.error("kept_answer_refused", why=str(error))
                return
            for row in rows:
                self._add([row])


def _rank(name: str, levels: Sequence[str]) -> int:
    """Returns a level's index; one that the config no longer has counts as the highest."""
    return levels.index(name) if name in levels else len(levels) - 1
