"""What a detector reads: a body's text with its disguises undone, in linear passes.

JSON escapes hide digits (`\\u0034`) and glue words together (`\\nfalcon`); tool arguments are JSON within JSON and
escape twice; full-width digits and zero-width joiners look like nothing to a byte pattern.
"""

from __future__ import annotations

import re
import unicodedata
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

DISGUISED: Final = f"[{_INVISIBLE}{_SPACES}{_HYPHENS}{_FULL_WIDTH}{_COMBINING}]"  # where `plain` has work to do


def decoded(body: bytes) -> bytes:
    """Returns a body's text with its JSON escapes decoded; `body` itself where it has none.

    Where the text still holds backslashes, both readings are returned, one after the other: it may be JSON once more
    (`\\u0034`) or a path (`C:\\new`).
    """
    if b"\\" not in body:
        return body
    text = reading = unescaped(body)
    for _ in range(_DEEPEST - 1):
        if b"\\" not in reading:
            break
        reading = unescaped(reading)
        text += b"\n" + reading
    return text


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


def plain(text: bytes) -> bytes:
    """Undoes what only looks different: invisible marks, odd spaces and hyphens, full-width and combining forms."""
    for mark, replacement in _REPLACED:
        if mark in text:
            text = text.replace(mark, replacement)
    if b"\xef\xbc" in text or b"\xef\xbd" in text:
        return unicodedata.normalize("NFKC", text.decode("utf-8", "replace")).encode()
    if b"\xcc" in text or b"\xcd" in text:
        return unicodedata.normalize("NFC", text.decode("utf-8", "replace")).encode()
    return text
