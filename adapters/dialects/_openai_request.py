"""What every request of OpenAI's wires has in common: strict JSON read once, and the headers that concern a call."""

from __future__ import annotations

import math
import re
from typing import Final, TypeVar

import msgspec

from adapters.dialects._openai_errors import duplicate_key, not_json, refuse
from gateway.core.types import Headers

TOKENS_MAX: Final = 2**31 - 1  # of any count a caller names: what no model reaches, and every store holds

_MEMBER: Final = re.compile(rb'[ \t\r\n]*[{,][ \t\r\n]*"((?:[^"\\]|\\.)*)"[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_LABELS: Final = (b"x-data-", b"x-headgate-")
_HEADS: Final = frozenset({b"x-dat", b"x-hea", b"cache", b"timeo"})
_TRUE: Final = frozenset({b"true", b"1", b"yes"})

_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode

Body = TypeVar("Body", bound=msgspec.Struct)


class Marks(msgspec.Struct, frozen=True, gc=False):
    """What a call's headers say about it."""

    labels: tuple[tuple[str, str], ...] = ()
    cache_control: str | None = None
    timeout_s: float | None = None
    strict: bool = False


def read_body(body: bytes, decoder: msgspec.json.Decoder[Body]) -> Body:
    """Decodes a request; raises BadRequest for what is not strict JSON in UTF-8, or has a field of a wrong type."""
    try:
        if not body.isascii():
            body.decode()
        request = decoder.decode(body)
        members = _decode_members(body)
    except msgspec.ValidationError as error:
        refuse(error)
    except msgspec.DecodeError as error:
        raise not_json(_place(str(error))) from None
    except UnicodeDecodeError as error:
        raise not_json(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise not_json("it is nested too deeply") from None
    # Compact JSON holds nothing beside its members: two quotes, a colon and a comma for each, and the braces. Where
    # the bytes add up no member can have been named twice, and most clients write compact JSON.
    count = len(members)
    if 4 * count + 1 + sum(map(len, members)) + sum(map(len, members.values())) != len(body):
        _refuse_duplicates(body, members)
    return request


def _refuse_duplicates(body: bytes, members: dict[str, msgspec.Raw]) -> None:
    """Walks the top level of valid JSON; raises BadRequest unless it has exactly these members, in this order."""
    position = 0
    for name, value in members.items():
        found = _MEMBER.match(body, position)
        if found is None or (found[1] != name.encode() and _decode_text(b'"' + found[1] + b'"') != name):
            raise duplicate_key()
        position = found.end() + len(value)
    if members and body[position:].strip(b" \t\r\n") != b"}":
        raise duplicate_key()


def read_headers(headers: Headers) -> Marks:
    """Reads the headers that concern a call; a value that cannot be read counts as absent."""
    labels: list[tuple[str, str]] = []
    cache_control: str | None = None
    timeout_s: float | None = None
    strict = False
    for name, value in headers:
        if name[:5] not in _HEADS:  # one look at nearly every header: 0.07 us each
            continue
        if name.startswith(_LABELS):
            labels.append((name.decode("latin-1"), value.decode("latin-1")))
            if name == b"x-headgate-strict":
                strict = value.strip().lower() in _TRUE
            elif name == b"x-headgate-timeout":
                timeout_s = _seconds(value) or timeout_s
        elif name == b"cache-control":
            cache_control = value.decode("latin-1")
        elif name == b"timeout" and timeout_s is None:
            timeout_s = _seconds(value)
    if not (labels or cache_control or timeout_s):
        return _UNMARKED
    return Marks(tuple(labels), cache_control, timeout_s, strict)


_UNMARKED: Final = Marks()


def _seconds(value: bytes) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _place(said: str) -> str:
    """Keeps what msgspec says of the place, which holds no text of the request."""
    return "it ends too early" if "truncated" in said else said.removeprefix("JSON is malformed: ")
