"""Sessions of browsers: in this process's memory, by the hash of an id that only the browser has.

A session does not say who somebody is: it holds the hash of the key he logged in with, and that key is asked anew with
every request (`access.Credentials`). A restart ends all of them.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

COOKIE: Final = "headgate-session"
MOST: Final = 1000  # sessions at a time; the one used longest ago goes first
_ID_BYTES: Final = 32


class Session(msgspec.Struct):
    """What is known of one session; times are the clock's seconds."""

    credential: str
    begun_at: float
    used_at: float


class Sessions:
    """Begins, finds and ends sessions. `limits` returns (idle, longest) in seconds, as the config has them now."""

    def __init__(self, limits: Callable[[], tuple[float, float]], clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, credential: str) -> str:
        """Returns the id of a new session of whoever holds the credential of this hash: 256 random bits."""
        self._expire()
        while len(self._sessions) >= MOST:
            self._sessions.popitem(last=False)
        id, now = secrets.token_urlsafe(_ID_BYTES), self._clock()
        self._sessions[_hash(id)] = Session(credential, now, now)
        return id

    def use(self, id: str) -> str | None:
        """Returns the hash of the credential that a session was begun with, and counts it as used."""
        hashed, now = _hash(id), self._clock()
        session = self._sessions.get(hashed)
        if session is None:
            return None
        if self._over(session, now):
            del self._sessions[hashed]
            return None
        session.used_at = now
        self._sessions.move_to_end(hashed)
        return session.credential

    def end(self, id: str) -> None:
        """Ends a session; nothing where it is none."""
        self._sessions.pop(_hash(id), None)

    def _expire(self) -> None:
        now = self._clock()
        for hashed in [hashed for hashed, session in self._sessions.items() if self._over(session, now)]:
            del self._sessions[hashed]

    def _over(self, session: Session, now: float) -> bool:
        idle_s, longest_s = self._limits()
        return now - session.used_at >= idle_s or now - session.begun_at >= longest_s


def csrf_of(id: str) -> str:
    """Returns the token that pages of a session send with every change.

    It follows from the id, which no page can read (HttpOnly), and does not lead back to it.
    """
    return hmac.digest(id.encode(), b"headgate csrf", "sha256").hex()


def _hash(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()
