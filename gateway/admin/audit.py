"""The audit log: every change that somebody made through the admin surface, with its secrets left out."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog

from gateway.admin.access import Visitor
from gateway.state.audit import AuditRow, AuditStore
from gateway.state.protocols import StoreUnavailable

_log = structlog.get_logger("headgate")

REDACTED: Final = "[redacted]"
MOST_WAITING: Final = 1000  # changes that wait in memory for a store that is away; the log has all of them
_SECRET_NAME: Final = re.compile(
    r"(?:.*[_-])?(?:secrets?|passwords?|passphrase|token|authorization|api_?keys?|hash|credentials?|cookie|private_key)",
    re.IGNORECASE,
)
# What looks like a key wherever it stands: a known beginning and a long rest, or the password of a URL.
_SECRET_TEXT: Final = re.compile(
    r"\b(?:hg|sk|rk|pk|gsk|xai|ghp|AKIA|AIza)[-_A-Za-z0-9]{12,}|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)|sha256:[0-9a-f]{64}"
)


class Audit:
    """Tells the log and the store of changes, and lists those that the store has. Blocks: handlers give it a thread."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store
        self._waiting: deque[AuditRow] = deque(maxlen=MOST_WAITING)
        self._lock = threading.Lock()

    def tell(self, visitor: Visitor, what: str, object: str, before: Any = None, after: Any = None) -> None:
        """Keeps that somebody did `what` ("key.disabled") to an object ("keys/alice").

        `before` and `after` are what JSON can hold; None where there was, or is, nothing. The change is made already:
        where the store is away this does not fail, and the row waits for the next call.
        """
        row = AuditRow(
            id=f"aud_{time.time_ns():x}{secrets.token_hex(4)}",
            time=time.time(),
            who=visitor.name,
            role=visitor.role,
            team=visitor.team,
            what=what,
            object=object,
            before=_json(before),
            after=_json(after),
        )
        _log.info("admin_changed", who=row.who, role=row.role, what=what, object=object)
        self._waiting.append(row)
        self._settle()

    def list(
        self, where: Sequence[tuple[str, str]] = (), before: tuple[float, str] | None = None, limit: int = 100
    ) -> list[AuditRow]:
        """Returns the newest first, older than the (time, id) `before`; raises StoreUnavailable."""
        self._settle()
        return self._store.audit(where, before, limit)

    def _settle(self) -> None:
        with self._lock:
            held = list(self._waiting)
            if not held:
                return
            try:
                self._store.add_audit(held)
            except StoreUnavailable as error:
                _log.warning("audit_waits", changes=len(held), error=str(error))
                return
            kept = {row.id for row in held}
            while self._waiting and self._waiting[0].id in kept:
                self._waiting.popleft()


def redacted(value: Any, name: str = "") -> Any:
    """Returns a value without its secrets: those of fields that are named so, and what looks like one in any text."""
    if isinstance(value, Mapping):
        return {str(key): redacted(each, str(key)) for key, each in value.items()}
    if _SECRET_NAME.fullmatch(name) and value is not None and not isinstance(value, bool):
        return REDACTED
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(each) for each in value]
    return _SECRET_TEXT.sub(REDACTED, value) if isinstance(value, str) else value


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(redacted(msgspec.to_builtins(value))).decode()
