"""What becomes of callers' wishes at Cohere: its row of the support matrix."""

from __future__ import annotations

from typing import Final

from adapters._support import Does, Quirk, Support

_CHAT: Final = "https://docs.cohere.com/reference/chat, 2026-11"
_ERRORS: Final = "https://docs.cohere.com/reference/errors, 2026-11"

SUPPORT: Final = Support(
    relays=frozenset(),
    features={
        "tools": Does("translated", "of a choice that names one of several tools nothing can be said: refused"),
        "images by URL": Does("translated", "Cohere fetches them"),
        "images as bytes": Does("translated"),
        "documents": Does("refused", "but for plain text; `documents` of Cohere's own pass"),
        "audio": Does("refused"),
        "structured output": Does("translated", "an object at the root; refused beside tools or documents"),
        "thinking": Does("translated", "on, off or a budget; an effort is dropped and declared"),
        "logprobs": Does("translated", "per piece of text; alternatives (top_logprobs) are refused"),
        "n": Does("refused"),
    },
    quirks=(
        Quirk(
            "usage is what is billed, not what was processed",
            "https://docs.cohere.com/docs/how-does-cohere-pricing-work, 2026-11",
        ),
        Quirk("the finishes ERROR and TIMEOUT come with a 200 and are errors", "recorded, 2026-04"),
        Quirk("temperature ends at 1, top_p at 0.99, top_k at 500, penalties at 0 and 1", _CHAT),
        Quirk("tools' names are letters, digits and underscores: others are changed, and put back", _ERRORS),
        Quirk("system messages stand first; later ones are sent as the user's, and declared", _ERRORS),
        Quirk(
            "an embedding's purpose is required: search_document where none is named, and declared",
            "https://docs.cohere.com/reference/embed, 2026-11",
        ),
    ),
)
