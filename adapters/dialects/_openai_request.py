"""What every request of OpenAI's wires has in common: strict JSON read once, and the headers that concern a call."""

from __future__ import annotations

import math
from typing import Final, TypeVar

import msgspec

from adapters.dialects._openai_errors import not_json, refuse
from gateway.core.types import LABEL_PREFIXES, Headers

TOKENS_MAX: Final = 2**31 - 1  # of any count a caller names: what no model reaches, and every store holds

_HEADS: Final = frozenset({b"x-dat", b"x-hea", b"cache", b"timeo"})
_TRUE: Final = frozenset({b"true", b"1", b"yes"})

Body = TypeVar("Body", bound=msgspec.Struct)


class Marks(msgspec.Struct, frozen=True, gc=False):
    """What a call's headers say about it."""

    labels: tuple[tuple[str, str], ...] = ()
    cache_control: str | None = None
    timeout_s: float | None = None
    strict: bool = False


def read_body(body: bytes, decoder: msgspec.json.Decoder[Body]) -> Body:
    """Decodes a request; raises BadRequest for what is not strict JSON in UTF-8, or has a field of a wrong type.

    Of a key that stands twice the last holds, here and in what goes upstream: no provider is sent it twice.
    """
    try:
        if not body.isascii():
            body.decode()
        request = decoder.decode(body)
    except msgspec.ValidationError as error:
        refuse(error)
    except msgspec.DecodeError as error:
        raise not_json(_place(str(error))) from None
    except UnicodeDecodeError as error:
        raise not_json(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise not_json("it is nested too deeply") from None
    return request


def read_headers(headers: Headers) -> Marks:
    """Reads the headers that concern a call; a value that cannot be read counts as absent."""
    labels: list[tuple[str, str]] = []
    cache_control: str | None = None
    timeout_s: float | None = None
    strict = False
    for name, value in headers:
        if name[:5] not in _HEADS:  # one look at nearly every header: 0.07 us each
            continue
        if name.startswith(LABEL_PREFIXES):
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
