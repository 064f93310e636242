"""Answers that no provider keeps, kept in this process's memory so that the next turn can go on from them by name.

Bounded by bytes and by time, owned by their tenant, of the level of the call that made them; written nowhere. What one
turn repeats of the last (items, tools, instructions) is held once: a conversation takes about what it says.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from gateway.core.errors import BadRequest, TooLarge
from gateway.core.keeping import Keeping, KeptWire
from gateway.core.types import Call, Principal

# What an answer, one of its items and a piece take beside their text: objects, ids, slots of dicts. A test holds them
# to what tracemalloc finds.
ANSWER_BYTES: Final = 800
ITEM_BYTES: Final = 300
PIECE_BYTES: Final = 150
_PLACE_BYTES: Final = 8
_ROOM: Final = 8  # an answer whose items are as short as can be takes 7 times its text: what is promised has room

Clock = Callable[[], float]


class KeepSettings(msgspec.Struct, frozen=True):
    """As configured. `max_bytes` of 0 keeps nothing; a resumed request may have `max_body_bytes`."""

    max_bytes: int = 0
    ttl_s: float = 3600.0
    max_entry_bytes: int = 0
    max_body_bytes: int = 32 << 20


class Piece:
    """Bytes that several answers may hold; `holders` counts them."""

    __slots__ = ("holders", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.holders = 0


class Kept:
    """One answer: the items that it was made of, its own, and the rest of it."""

    __slots__ = (
        "deployment",
        "given",
        "id",
        "items",
        "large",
        "level",
        "output",
        "rest",
        "size",
        "tenant",
        "used_at",
    )

    def __init__(self, tenant: str, level: str, deployment: str) -> None:
        self.id = ""
        self.tenant = tenant
        self.level = level
        self.deployment = deployment
        self.given: tuple[Piece, ...] = ()
        self.output: tuple[Piece, ...] = ()
        self.items: tuple[str, ...] = ()
        self.large: tuple[tuple[str, Piece], ...] = ()
        self.rest = b""
        self.size = 0  # without its pieces
        self.used_at = 0.0

    @property
    def pieces(self) -> Iterable[Piece]:
        """All of its pieces, each as often as it holds it."""
        yield from self.given
        yield from self.output
        for _, piece in self.large:
            yield piece


class Resumed(msgspec.Struct, frozen=True):
    """A request with what it goes on from spliced in; `levels` are those of the calls that made it."""

    body: bytes
    levels: frozenset[str]
    field: str
    previous: str | None


def tenant_of(principal: Principal) -> str:
    """Returns who shares what is kept: a team, or a key of none."""
    return f"team:{principal.team}" if principal.team is not None else f"key:{principal.key}"


class KeptContent:
    """Knows answers by their ids and by those of their items; belongs to the event loop."""

    def __init__(self, wire: KeptWire, settings: KeepSettings = KeepSettings(), clock: Clock = time.monotonic) -> None:  # noqa: B008 - frozen
        self.wire = wire
        self.size_bytes = 0
        self._settings = settings
        self._clock = clock
        self._answers: OrderedDict[str, Kept] = OrderedDict()  # the one used longest ago first
        self._items: dict[str, tuple[Kept, Piece]] = {}
        self._pieces: dict[bytes, Piece] = {}
        self._left: list[tuple[bytes, bytes, Kept]] = []  # not taken apart yet
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._answers)

    def apply(self, settings: KeepSettings) -> None:
        """Keeps by these settings from now on; what no longer fits goes."""
        self._settle()
        self._settings = settings
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._shrink()

    def close(self) -> None:
        """Forgets everything."""
        if self._timer is not None:
            self._timer.cancel()
        self._left.clear()
        self._answers.clear()
        self._items.clear()
        self._pieces.clear()
        self.size_bytes = 0

    # -- the way of a call -----------------------------------------------------------------------------------------

    def resume(self, call: Call, principal: Principal) -> Resumed | None:
        """Splices in what a call refers to; None where it refers to nothing that the gateway would keep.

        Raises BadRequest for what is not there to this caller, TooLarge where it is more than a request may be.
        """
        self._settle()
        found: dict[str, list[bytes]] = {}
        levels: list[str] = []
        field, previous, size = "", None, len(call.body)
        for reference in call.references:
            if not reference.ours:
                continue
            name = reference.id
            if reference.field == "previous_response_id":
                answer = self.find(name, principal)
                pieces = (*answer.given, *answer.output) if answer is not None else ()
                previous = name
            else:
                held = self._items.get(name)
                answer = self.find(held[0].id, principal) if held is not None else None
                pieces = (held[1],) if held is not None else ()
            if answer is None:
                raise self._missing(name, reference.field)
            if name not in found:
                found[name] = [piece.raw for piece in pieces]
                size += sum(map(len, found[name]))
            levels.append(answer.level)
            field = field or reference.field
        if not found:
            return None
        limit = self._settings.max_body_bytes
        if size > limit:
            raise TooLarge(f"with what it goes on from, the request is larger than {limit} bytes (server.max_body)")
        return Resumed(self.wire.resumed(call.body, found), frozenset(levels), field, previous)

    def keeping(self, call: Call, resumed: Resumed | None) -> Keeping | None:
        """Returns what a call is to take along, so that its answer is kept where no provider keeps it."""
        settings = self._settings
        most = min(settings.max_entry_bytes, settings.max_bytes // _ROOM) if call.kept else 0
        previous = resumed.previous if resumed is not None else None
        return Keeping(most, previous) if most or previous is not None else None

    def put(self, call: Call, principal: Principal, level: str, deployment: str) -> None:
        """Keeps the answer that a call's writer has left; the ones used longest ago make room.

        The answer's last byte does not wait for that: it is taken apart when the loop is next free, or asked for it.
        """
        if call.keeping is None or call.keeping.answer is None:
            return
        if not self._left:
            asyncio.get_running_loop().call_soon(self._settle)
        self._left.append((call.body, call.keeping.answer, Kept(tenant_of(principal), level, deployment)))

    def _settle(self) -> None:
        left, self._left = self._left, []
        for request, answer, kept in left:
            self._keep(request, answer, kept)

    def _keep(self, request: bytes, answer: bytes, kept: Kept) -> None:
        parts = self.wire.parts(request, answer)
        kept.id = parts.id
        kept.given = tuple([self._hold(raw) for raw in parts.given])
        kept.output = tuple([self._hold(raw) for _, raw in parts.output])
        kept.items = tuple([name for name, _ in parts.output])
        kept.large = tuple([(name, self._hold(raw)) for name, raw in parts.large])
        kept.rest = parts.rest
        places = len(kept.given) + len(kept.output) + len(kept.large)
        kept.size = ANSWER_BYTES + ITEM_BYTES * len(kept.output) + _PLACE_BYTES * places + len(kept.rest)
        self._answers[kept.id] = kept
        self._items.update(zip(kept.items, [(kept, piece) for piece in kept.output], strict=True))
        self.size_bytes += kept.size
        kept.used_at = self._clock()
        self._shrink()

    # -- what is asked of an answer --------------------------------------------------------------------------------

    def find(self, name: str, principal: Principal) -> Kept | None:
        """Returns an answer of this caller's tenant, which is thereby used anew."""
        self._settle()
        kept = self._answers.get(name)
        if kept is None or kept.tenant != tenant_of(principal):
            return None
        now = self._clock()
        if now >= kept.used_at + self._settings.ttl_s:
            self._drop(kept)
            return None
        kept.used_at = now
        self._answers.move_to_end(name)
        return kept

    def whole(self, kept: Kept) -> bytes:
        """Returns the answer as it was given."""
        large = [(name, piece.raw) for name, piece in kept.large]
        return self.wire.answer(kept.rest, large, [piece.raw for piece in kept.output])

    def forget(self, kept: Kept) -> None:
        """Forgets an answer, and its items; what goes on from it keeps what it was made of."""
        if kept.id in self._answers:
            self._drop(kept)

    def why_missing(self) -> str:
        """Says what becomes of answers that no provider keeps, and what to do."""
        settings = self._settings
        kept = (
            f"the gateway keeps one for {settings.ttl_s:g} s after its last use, in the memory of one process"
            if settings.max_bytes
            else "the gateway keeps none either (responses.keep)"
        )
        return (
            f"it was answered by a provider that keeps no responses, and {kept}: send the items of the conversation "
            "in `input`, reasoning items included, and `store: false`"
        )

    # --------------------------------------------------------------------------------------------------------------

    def _missing(self, name: str, field: str) -> BadRequest:
        message = f"{field}: {name[:80]!r} not found: {self.why_missing()}"
        return BadRequest(message, param=field, code="response_not_kept")

    def _hold(self, raw: bytes) -> Piece:
        piece = self._pieces.get(raw)
        if piece is None:
            piece = self._pieces[raw] = Piece(raw)
            self.size_bytes += len(raw) + PIECE_BYTES
        piece.holders += 1
        return piece

    def _drop(self, kept: Kept) -> None:
        del self._answers[kept.id]
        self.size_bytes -= kept.size
        for name in kept.items:
            self._items.pop(name, None)
        for piece in kept.pieces:
            piece.holders -= 1
            if not piece.holders:
                del self._pieces[piece.raw]
                self.size_bytes -= len(piece.raw) + PIECE_BYTES

    def _shrink(self) -> None:
        """Lets go of what is over its time or over the bound, and comes back when the next one's time is over."""
        settings, now = self._settings, self._clock()
        while self._answers:
            oldest = next(iter(self._answers.values()))
            ends_s = oldest.used_at + settings.ttl_s - now
            if ends_s > 0 and self.size_bytes <= settings.max_bytes:
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(ends_s, self._expire)
                return
            self._drop(oldest)

    def _expire(self) -> None:
        self._timer = None
        self._shrink()
