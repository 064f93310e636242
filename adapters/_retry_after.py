"""How long a provider asks to wait, out of its headers or its words; pure, so a date is read against its own `Date`."""

from __future__ import annotations

import re
from email.utils import mktime_tz, parsedate_tz
from typing import Final

from gateway.core.types import Headers

_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
# OpenAI and Groq say it in the message of a 429 when a header is missing ("Please try again in 7.66s").
_IN_WORDS: Final = re.compile(r"(?:try again|retry) in ((?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+)", re.IGNORECASE)


def retry_after_s(headers: Headers, message: str) -> float | None:
    """Returns the provider's wait in seconds, or None where it names none.

    In this order: `retry-after-ms`, `retry-after` (seconds or a date), the reset of a limit that is used up
    (`x-ratelimit-remaining-…: 0` with `x-ratelimit-reset-…`), the message.
    """
    fields = {name: value.decode("latin-1").strip() for name, value in headers}
    wait = _number(fields.get(b"retry-after-ms", ""))
    if wait is not None:
        return wait / 1000
    stated = fields.get(b"retry-after", "")
    wait = _number(stated)
    if wait is not None:
        return wait
    now = _epoch(fields.get(b"date", ""))
    at = _epoch(stated)
    if at is not None:
        return max(0.0, at - now) if now is not None else None
    resets = [
        _reset(fields.get(name.replace(b"-remaining", b"-reset"), ""), now)
        for name, left in fields.items()
        if name.startswith(b"x-ratelimit-remaining") and left == "0"
    ]
    known = [reset for reset in resets if reset is not None]
    if known:
        return max(known)
    said = _IN_WORDS.search(message)
    return _duration(said[1]) if said else None


def should_retry(headers: Headers) -> bool | None:
    """Returns what `x-should-retry` says, None where it says nothing."""
    for name, value in headers:
        if name == b"x-should-retry":
            return {b"true": True, b"false": False}.get(value.strip().lower())
    return None


def _reset(text: str, now: float | None) -> float | None:
    """Reads a reset: "1m30s", "120ms", seconds, or an epoch in seconds or milliseconds (OpenRouter)."""
    number = _number(text)
    if number is None:
        return _duration(text)
    if number < 1e9:
        return number
    if now is None:
        return None
    return max(0.0, (number / 1000 if number > 1e11 else number) - now)


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _duration(text: str) -> float | None:
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(amount) * _UNIT_S[unit] for amount, unit in _DURATION_PART.findall(text))


def _epoch(text: str) -> float | None:
    """Reads an HTTP date as seconds since the epoch."""
    parsed = parsedate_tz(text) if text else None
    if parsed is None:
        return None
    try:
        return float(mktime_tz(parsed))
    except (ValueError, OverflowError):
        return None
