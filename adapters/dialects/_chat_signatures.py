"""A signature of Google's in OpenAI's chat: `extra_content.google.thought_signature`, on tool calls and messages.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures (2026-11). Clients that drop what they do not know
bring a tool call's signature back inside its id all the same (`adapters._signatures`), and with it whose it is. Where
it is not AI Studio's, `provider` beside it says so, as it does of reasoning: no place of Google's reads another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.core.blocks import Json

_GOOGLE: Final = "google"
_GOOGLES: Final = ("gemini", "vertex")  # the adapters of Google's models; the first is meant where a client names none


def with_signature(holder: dict[str, Json], signature: str | None, provider: str | None) -> dict[str, Json]:
    """Adds a signature of Google's to a tool call or a message."""
    if signature is not None and provider in _GOOGLES:
        told = {"thought_signature": signature}
        holder["extra_content"] = {_GOOGLE: told if provider == _GOOGLES[0] else {**told, "provider": provider}}
    return holder


def signature_in(holder: Mapping[str, Json]) -> tuple[str | None, str | None]:
    """Returns the signature of a tool call or a message, and whose it is."""
    google = holder.get("extra_content")
    google = google.get(_GOOGLE) if isinstance(google, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    if not isinstance(google, dict) or not isinstance(signature, str) or not signature:
        return None, None
    provider = google.get("provider")
    return signature, provider if provider in _GOOGLES else _GOOGLES[0]
