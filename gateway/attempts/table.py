"""What follows from each reason that an attempt can fail for: the one table that decides, as data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from gateway.breakers import Lesson
from gateway.core.errors import Reason


class Again(Enum):
    """Whether the same endpoint may be asked again."""

    NO = "no"
    IF_STALE = "at once, and once, if a kept-alive connection had been closed under the request; else no"
    AFTER_BACK_OFF = "once, after a short back-off with full jitter; of a pool's replicas only where no other is left"
    LAST = "once, after a short back-off, where nobody else can"
    AFTER_WAIT = "after the wait, if that is within the route's `patience`, or fits the deadline and nobody else can"


class Follows(Enum):
    """What becomes of the call."""

    NEXT = "next"
    LARGER_WINDOW = "only to candidates with a larger window"
    STOP = "no: passed on to the caller"


class Differs(Enum):
    """In what another endpoint of the same deployment must differ to be worth asking."""

    ENDPOINT = "any"
    ORIGIN = "another origin"
    CREDENTIAL = "another credential"
    NONE = "none"


class Row(msgspec.Struct, frozen=True):
    """What follows from one reason.

    `may_have_run`: the provider may have done the work, so that a call with side effects there is not sent again.
    `notify`: only people can mend it.
    """

    covers: str
    again: Again
    follows: Follows
    siblings: Differs
    lesson: Lesson
    may_have_run: bool = False
    notify: bool = False


TABLE: Final[Mapping[Reason, Row]] = {
    Reason.CONNECT: Row(
        "connect refused, DNS, TLS, reset before a byte",
        Again.IF_STALE,
        Follows.NEXT,
        Differs.ORIGIN,
        Lesson.COUNTS,
        may_have_run=True,
    ),
    Reason.TIMEOUT: Row(
        "no first token in time; silent",
        Again.NO,
        Follows.NEXT,
        Differs.ORIGIN,
        Lesson.COUNTS_AS_SLOW,
        may_have_run=True,
    ),
    Reason.RATE_LIMITED: Row("429", Again.AFTER_WAIT, Follows.NEXT, Differs.CREDENTIAL, Lesson.RESTS),
    Reason.OVERLOADED: Row("503, 529", Again.AFTER_BACK_OFF, Follows.NEXT, Differs.ORIGIN, Lesson.COUNTS),
    Reason.QUEUE_FULL: Row(
        "503 of a replica that has as much in its queue as it may",
        Again.LAST,
        Follows.NEXT,
        Differs.ORIGIN,
        Lesson.NOTHING,
    ),
    Reason.SERVER_ERROR: Row(
        "500, 502, other 5xx; 3xx and 501, not HTTP, not the dialect (these say `should_retry: false`)",
        Again.AFTER_BACK_OFF,
        Follows.NEXT,
        Differs.ORIGIN,
        Lesson.COUNTS,
        may_have_run=True,
    ),
    Reason.OUT_OF_CREDIT: Row("402, quota", Again.NO, Follows.NEXT, Differs.CREDENTIAL, Lesson.OPENS, notify=True),
    Reason.UNAUTHENTICATED: Row(
        "401, 403", Again.NO, Follows.NEXT, Differs.CREDENTIAL, Lesson.KILLS_CREDENTIAL, notify=True
    ),
    Reason.NOT_FOUND: Row(
        "404 of our own deployment name (of what the caller named: passed on to the caller)",
        Again.NO,
        Follows.NEXT,
        Differs.NONE,
        Lesson.NOTHING,
        notify=True,
    ),
    Reason.BAD_REQUEST: Row("400, 405, 409, 413, 415, 422", Again.NO, Follows.STOP, Differs.NONE, Lesson.NOTHING),
    Reason.CONTEXT_TOO_LONG: Row(
        "the prompt does not fit the context window", Again.NO, Follows.LARGER_WINDOW, Differs.NONE, Lesson.NOTHING
    ),
    Reason.CONTENT_FILTERED: Row(
        "the provider refused: never routed around", Again.NO, Follows.STOP, Differs.NONE, Lesson.NOTHING
    ),
    Reason.STREAM_CUT: Row(
        "cut, stalled or an in-band error before any content byte left",
        Again.NO,
        Follows.NEXT,
        Differs.ORIGIN,
        Lesson.COUNTS,
        may_have_run=True,
    ),
    Reason.ABORTED: Row(
        "408, 425; finish `abort` or `error` without content",
        Again.NO,
        Follows.NEXT,
        Differs.ENDPOINT,
        Lesson.COUNTS,
        may_have_run=True,
    ),
    Reason.CANCELLED: Row(
        "the caller went away: the upstream is cancelled", Again.NO, Follows.STOP, Differs.NONE, Lesson.NOTHING
    ),
}

LESSONS: Final[Mapping[Reason, Lesson]] = {reason: row.lesson for reason, row in TABLE.items()}


def as_markdown() -> str:
    """Writes the table as the documentation shows it."""
    lines = [
        "| reason | covers | the same endpoint | the call | other endpoints of the deployment | breaker |",
        "|---|---|---|---|---|---|",
    ]
    for reason, row in TABLE.items():
        follows = "stop" if reason is Reason.CANCELLED else row.follows.value
        if row.notify:
            follows += "; people are told"
        cells = (f"`{reason.value}`", row.covers, row.again.value, follows, row.siblings.value, row.lesson.value)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
