"""What becomes of callers' wishes at Ollama's own wire: its row of the support matrix."""

from __future__ import annotations

from typing import Final

from adapters._support import Does, Quirk, Support

SUPPORT: Final = Support(
    relays=frozenset(),
    features={
        "tools": Does("translated", "a forced call is refused; `none` leaves the tools out"),
        "images by URL": Does("coerced", "fetched, and sent as bytes"),
        "images as bytes": Does("translated"),
        "documents": Does("refused", "but for plain text"),
        "audio": Does("refused"),
        "structured output": Does("translated"),
        "thinking": Does("translated", "on, off, or low, medium and high"),
        "logprobs": Does("translated"),
        "n": Does("refused"),
    },
    quirks=(
        Quirk(
            "a prompt longer than num_ctx is cut by the server in silence: set num_ctx",
            "https://docs.ollama.com/context-length, 2026-11",
        ),
        Quirk("calls of tools may come without an id: it is made of the call's own", "recorded, 2024 to 2026"),
        Quirk("a finish beside calls of tools is `stop`: it becomes tool_calls", "recorded, 2026-08"),
        Quirk("num_gpu, num_thread and the like are the server's, and are dropped and declared"),
    ),
)
