"""What becomes of callers' wishes at Anthropic: its row of the support matrix."""

from __future__ import annotations

from typing import Final

from adapters._support import Does, Quirk, Support

SUPPORT: Final = Support(
    relays=frozenset({"messages", "count_tokens"}),
    features={
        "tools": Does("translated", "names that it does not take are made safe, and put back in the answer"),
        "images by URL": Does("translated", "https only; Anthropic fetches them"),
        "images as bytes": Does("translated", "PNG, JPEG, GIF, WebP; the type is read from the bytes"),
        "documents": Does("translated", "PDF and text, as bytes, URL or file id"),
        "audio": Does("refused"),
        "structured output": Does(
            "translated", "natively from Claude 4.5 on, where the schema can be closed; else by a tool of our own"
        ),
        "thinking": Does("translated", "adaptive from Claude 4.6 on, a budget from 3.7 on; else dropped and declared"),
        "logprobs": Does("refused"),
        "n": Does("refused"),
    },
    quirks=(
        Quirk(
            "max_tokens is required: the deployment's max_output, else 4096",
            "https://platform.claude.com/docs/en/api/messages, 2026-11",
        ),
        Quirk("temperature ends at 1", "https://platform.claude.com/docs/en/api/messages, 2026-11"),
        Quirk(
            "seed, penalties and logit_bias are dropped and declared",
            "https://platform.claude.com/docs/en/api/messages, 2026-11",
        ),
        Quirk(
            "four cache markers a request",
            "https://platform.claude.com/docs/en/build-with-claude/prompt-caching, 2026-11",
        ),
    ),
)
