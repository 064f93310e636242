"""Providers that speak OpenAI's wire with an accent: a table, each row its address and what differs, with the reason.

What the relay does for every provider is not repeated here: finish words are translated for the receipt only, usage
is normalised by `_openai_usage`, a stream may leave `[DONE]` out once it has finished, errors are read in any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters.openai import Quirks, Relay

# The older name of the same bound, for providers that refuse the new one or, worse, ignore it.
_MAX_TOKENS: Final = ("max_completion_tokens", "max_tokens")


class Note(msgspec.Struct, frozen=True):
    """A quirk in words: what differs and where that is from."""

    what: str
    source: str


class Row(msgspec.Struct, frozen=True):
    """One provider: where it listens by default, whether it wants a key, how its wire differs."""

    base_url: str
    quirks: Quirks = Quirks()
    notes: tuple[Note, ...] = ()
    needs_key: bool = True


KINDS: Final[Mapping[str, Row]] = {
    "groq": Row(
        "https://api.groq.com/openai/v1",
        notes=(
            Note(
                "an error inside a stream comes as `event: error`, without a finish and without [DONE]",
                "recorded streams, 2026-02",
            ),
            Note("status 498 means that its flex tier is full", "https://console.groq.com/docs/errors, 2026-11"),
        ),
    ),
    "mistral": Row(
        "https://api.mistral.ai/v1",
        # It refuses fields it does not know (422 extra_forbidden), and its streams end with usage unasked.
        Quirks(asks_usage=False, renames=(_MAX_TOKENS, ("seed", "random_seed")), dropped=("stream_options",)),
        notes=(
            Note(
                "max_completion_tokens is refused, max_tokens is the same bound",
                "https://github.com/editor-code-assistant/eca/issues/231, 2025-12",
            ),
            Note(
                "stream_options.include_usage is refused; usage is always on the last chunk, beside its choice",
                "https://github.com/avante-corp/avante.nvim/issues/2347, 2025-06",
            ),
            Note("the seed is named random_seed", "recorded requests, 2026-06"),
        ),
    ),
    "deepseek": Row(
        "https://api.deepseek.com/v1",
        Quirks(renames=(_MAX_TOKENS,)),
        notes=(
            Note(
                "max_completion_tokens is ignored in silence, max_tokens is kept",
                "https://github.com/earendil-works/pi/issues/8018, 2026-08",
            ),
        ),
    ),
    "together": Row(
        "https://api.together.xyz/v1",
        notes=(Note("a finish reason may be `eos`: it counts as stop, and goes on as it is", "recorded, 2025-02"),),
    ),
    "fireworks": Row("https://api.fireworks.ai/inference/v1"),
    "openrouter": Row(
        "https://openrouter.ai/api/v1",
        notes=(
            Note(
                "usage comes on a last chunk that repeats the choice and its finish; comments keep the stream alive",
                "recorded streams, 2026-06",
            ),
            Note(
                "a 403 may be a moderation's refusal",
                "https://openrouter.ai/docs/api/reference/errors-and-debugging, 2026-11",
            ),
        ),
    ),
    "xai": Row(
        "https://api.x.ai/v1",
        notes=(Note("completion_tokens leave reasoning out; the total holds it", "recorded, 2026-03"),),
    ),
    "ollama": Row(
        "http://127.0.0.1:11434/v1",
        Quirks(renames=(_MAX_TOKENS,)),
        notes=(
            Note(
                "max_completion_tokens is not among its fields, and unknown fields are ignored in silence",
                "https://docs.ollama.com/api/openai-compatibility, 2026-11",
            ),
        ),
        needs_key=False,
    ),
}


def adapter(kind: str) -> Relay:
    """Returns the adapter of a row; raises KeyError for a kind that has none."""
    return Relay(kind, KINDS[kind].quirks)
