"""What only a provider can read, on its way through a Responses caller and back: in `encrypted_content`.

Clients that keep their conversation themselves (`store: false`) send reasoning items back as they came
(https://platform.openai.com/docs/guides/reasoning, 2026-11), so whatever has no field of its own rides there: the
signature over reasoning, redacted reasoning, a signature over a text, a whole block of one provider. One over a tool
call rides in its `call_id` (`adapters._signatures`), as in the other dialects. It is JSON after a versioned prefix, and
not base64: the detectors of sensitivity read what they can of it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from adapters._blocks import UNREADABLE
from gateway.core.blocks import Json
from gateway.core.errors import BadRequest

PREFIX: Final = "hg1."


class Seal(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="of", tag="thinking"):
    """The signature over a reasoning item's own text; without one, whose the reasoning is."""

    signature: str | None = None
    provider: str | None = None
    id: str | None = None


class RedactedSeal(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="of", tag="redacted"):
    """Reasoning that is encrypted whole."""

    data: str
    provider: str | None = None


class TextSeal(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="of", tag="text"):
    """The signature over the text before the item."""

    signature: str
    provider: str | None = None


class BlockSeal(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="of", tag="block"):
    """A block that only its provider knows."""

    provider: str
    value: Json


Sealed = Seal | RedactedSeal | TextSeal | BlockSeal

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Sealed).decode


def seal(sealed: Sealed) -> str:
    """Writes it as `encrypted_content`."""
    return PREFIX + _encode(sealed).decode()


def unseal(content: str, field: str) -> Sealed | None:
    """Reads what `seal` wrote; None for what a provider encrypted itself, BadRequest for ours that was changed."""
    if not content.startswith(PREFIX):
        return None
    try:
        sealed: Sealed = _decode(content.removeprefix(PREFIX))
    except UNREADABLE:
        raise BadRequest(f"{field} is not as it was answered", param=field) from None
    return sealed
