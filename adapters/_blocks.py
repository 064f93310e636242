"""Pure helpers over the blocks, shared by the adapters that translate."""

from __future__ import annotations

import binascii
from typing import Final

import msgspec

from gateway.core.errors import BadRequest

# What msgspec raises for bytes that it cannot read as JSON: malformed, not UTF-8, nested past Python's recursion limit.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_WARNINGS_MAX: Final = 24
_FIELD_CHARACTERS_MAX: Final = 80


class Declarations:
    """What a provider cannot express and a caller can do without: declared, or refused where the caller is strict."""

    __slots__ = ("_strict", "_warnings")

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._warnings: dict[str, None] = {}

    def declare(self, field: str, what: str) -> None:
        """Notes `what` became of `field`, once; raises BadRequest naming the field for a strict caller."""
        if self._strict:
            raise BadRequest(f"{field}: {what}, and strict is set", param=field)
        # A field's name may be the caller's own text, and ends in a header.
        self._warnings[ascii(f"{field[:_FIELD_CHARACTERS_MAX]}: {what}")[1:-1]] = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """The declarations as printable ASCII, as many as a header should hold."""
        said = tuple(self._warnings)
        more = len(said) - _WARNINGS_MAX
        return (*said[:_WARNINGS_MAX], f"and {more} more") if more > 0 else said


# The first bytes of each format: https://www.iana.org/assignments/media-types and the formats' own specifications.
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)


def sniffed_type(data: str) -> str | None:
    """Returns the media type that base64 content shows in its first bytes; raises ValueError where it is no base64."""
    return sniffed(binascii.a2b_base64(data[:32], strict_mode=True))


def sniffed(head: bytes) -> str | None:
    """Returns the media type that content shows in its first bytes."""
    for signature, media_type in _SIGNATURES:
        if head.startswith(signature):
            return media_type
    return "image/webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


SNIFFABLE: Final = frozenset({media_type for _, media_type in _SIGNATURES} | {"image/webp"})
