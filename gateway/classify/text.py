"""What a detector reads: a body's text with its disguises undone, in linear passes.

JSON escapes hide digits (`\\u0034`) and glue words together (`\\nfalcon`); tool arguments are JSON within JSON and
escape twice; full-width digits and zero-width joiners look like nothing to a byte pattern.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

import msgspec

_DEEPEST: Final = 3  # JSON in a string in JSON in a string: what tool arguments of tools about tools come to

# A body becomes one JSON string, so that its escapes are decoded in C: every quote turns into a slash, because `\"`
# is then `\/`, an escape as well, and no control character may stand in a string. 1.5 us a KB, against 0.3 us for
# each escape in a callback.
_AS_STRING: Final = bytes.maketrans(bytes(range(32)) + b'"', b" " * 32 + b"/")
_decode: Final = msgspec.json.Decoder(str).decode

_UNICODE_ESCAPE: Final = re.compile(rb"\\u([0-9a-fA-F]{4})")
_SIMPLE_ESCAPES: Final = ((b"\\n", b" "), (b"\\r", b" "), (b"\\t", b" "), (b'\\"', b"/"), (b"\\/", b"/"))

_INVISIBLE: Final = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_SPACES: Final = "\u00a0\u2007\u2009\u200a\u202f"
_HYPHENS: Final = "\u2010\u2011\u2012\u2013\u2212"
_REPLACED: Final = (
    *((mark.encode(), b"") for mark in _INVISIBLE),
    *((mark.encode(), b" ") for mark in _SPACES),
    *((mark.encode(), b"-") for mark in _HYPHENS),
)
_FULL_WIDTH: Final = "\uff10-\uff19\uff20-\uff3a\uff41-\uff5a"  # digits, @, letters
_COMBINING: Final = "\u0300-\u036f"

# Where `unmarked` and `normal` have work to do. Hyphens and spaces of other kinds are common in prose (a dash between
# words); they only matter between digits.
MARKED: Final = rf"[{_INVISIBLE}]|[0-9)][{_SPACES}{_HYPHENS}]+[0-9(]"
FOREIGN: Final = f"[{_FULL_WIDTH}{_COMBINING}]"


def decoded(body: bytes) -> bytes:
    """Returns a body's text with its JSON escapes decoded; `body` itself where it has none.

    Lines that still hold backslashes are returned in both readings, one after the other: they may be JSON once more
    (`\\u0034`) or hold a path (`C:\\new`).
    """
    if b"\\" not in body:
        return body
    reading = unescaped(body)
    readings = [reading]
    for _ in range(_DEEPEST - 1):
        if b"\\" not in reading:
            break
        # only the lines concerned: one path must not double the work on a long document
        reading = unescaped(b"\n".join(_lines_with_backslashes(reading)))
        readings.append(reading)
    return b"\n".join(readings)


def _lines_with_backslashes(text: bytes) -> Iterator[bytes]:
    end = -1
    while (place := text.find(b"\\", end + 1)) >= 0:
        start = text.rfind(b"\n", 0, place) + 1
        end = text.find(b"\n", place)
        if end < 0:
            end = len(text)
        yield text[start:end]


def unescaped(text: bytes) -> bytes:
    """Decodes JSON's escapes wherever they stand; what is no escape stays. Quotes come out as slashes."""
    try:
        return _decode(b'"' + text.translate(_AS_STRING) + b'"').encode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # text that only looks like JSON: a path, a regular expression, half a surrogate pair
    for escape, meaning in _SIMPLE_ESCAPES:
        text = text.replace(escape, meaning)
    if b"\\u" not in text:
        return text
    shielded = text.translate(_AS_STRING).replace(b"\\", b"\\\\").replace(b"\\\\u", b"\\u")
    try:
        return _decode(b'"' + shielded + b'"').encode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _UNICODE_ESCAPE.sub(_character, text)


def _character(match: re.Match[bytes]) -> bytes:
    return chr(int(match[1], 16)).encode("utf-8", "replace")


def unmarked(text: bytes) -> bytes:
    """Drops invisible marks; odd spaces and hyphens become plain ones."""
    for mark, replacement in _REPLACED:
        if mark in text:
            text = text.replace(mark, replacement)
    return text


def normal(text: bytes) -> bytes:
    """Returns full-width letters and digits as plain ones, and letters with combining marks in one piece (NFKC)."""
    return unicodedata.normalize("NFKC", text.decode("utf-8", "replace")).encode()
