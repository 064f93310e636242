"""OpenRouter's `reasoning_details`: what of them a block of reasoning must keep, so that they go back as they came.

An element is text, a summary, or encrypted, each with an id, a format and perhaps a signature; all of it must go back
(https://openrouter.ai/docs/use-cases/reasoning-tokens#preserving-reasoning-blocks, 2026-11). A block's signature, or
its encrypted data, is the element itself as JSON, less its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gateway.core.blocks import Json, RedactedThinking, Thinking, ThinkingDelta, ThinkingEnd

PROVIDER: Final = "openrouter"  # whose they are where a caller brings them back

_encode: Final = msgspec.json.Encoder(order="deterministic").encode
TEXT_OF: Final[Mapping[str, str]] = {"reasoning.text": "text", "reasoning.summary": "summary"}


class Details:
    """The element that is open: a stream brings its text in pieces, its signature last."""

    __slots__ = ("_choice", "_open", "_provider", "_spoken")

    def __init__(self, provider: str, choice: int) -> None:
        self._provider = provider
        self._choice = choice
        self._open: dict[str, Json] | None = None
        self._spoken = False

    def add(self, detail: Mapping[str, Json]) -> Iterable[ThinkingDelta | ThinkingEnd]:
        """Takes a piece; yields what is new, and the end of the element before it."""
        kind = str(detail.get("type"))
        field = TEXT_OF.get(kind)
        before = self._open
        if before is not None and (
            field is None
            or before.get("type") != kind
            or before.get("index") != detail.get("index")
            or before.get("signature")  # it is the last of its element
        ):
            yield from self.close()
        if self._open is None:
            self._open = {}
        kept = {name: value for name, value in detail.items() if name != field and value is not None}
        self._open.update(kept)
        said = detail.get(field) if field is not None else None
        if isinstance(said, str) and said:
            self._spoken = True
            yield ThinkingDelta(said, self._choice)
        if field is None:
            yield from self.close()

    def close(self) -> Iterable[ThinkingEnd]:
        """Ends the open element, if there is one."""
        detail, self._open = self._open, None
        spoken, self._spoken = self._spoken, False
        if detail is None:
            return
        kept = _encode(detail).decode()
        if str(detail.get("type")) in TEXT_OF:
            if spoken or detail.get("signature"):
                yield ThinkingEnd(signature=kept, provider=self._provider, choice=self._choice)
        else:
            yield ThinkingEnd(redacted=kept, provider=self._provider, choice=self._choice)


def read_details(given: Iterable[Mapping[str, Json]]) -> list[Thinking | RedactedThinking]:
    """Reads the elements of a history, which a client may have kept whole or in the pieces that they came in."""
    details = Details(PROVIDER, 0)
    blocks: list[Thinking | RedactedThinking] = []
    text: list[str] = []
    for event in (*(event for detail in given for event in details.add(detail)), *details.close()):
        if isinstance(event, ThinkingDelta):
            text.append(event.text)
        elif event.redacted is not None:
            blocks.append(RedactedThinking(event.redacted, event.provider))
        else:
            blocks.append(Thinking("".join(text), event.signature, event.provider))
            text = []
    return blocks
