"""What becomes of callers' wishes at Gemini, at AI Studio and at Vertex: their rows of the support matrix."""

from __future__ import annotations

from typing import Final

from adapters._support import Does, Quirk, Support

_CALLING: Final = "https://ai.google.dev/gemini-api/docs/function-calling, 2026-11"
_SIGNATURES: Final = "https://ai.google.dev/gemini-api/docs/thought-signatures, 2026-11"
_NEWEST: Final = "https://ai.google.dev/gemini-api/docs/generate-content/whats-new-gemini-3.6, 2026-11"

_FEATURES: Final = {
    "tools": Does("translated", "one call at a time cannot be asked for: dropped"),
    "images by URL": Does("translated", "fetched by the gateway, or by Google from its own places"),
    "images as bytes": Does("translated", "one detail for all images of a request"),
    "documents": Does("translated", "PDF, text, audio and video"),
    "audio": Does("translated", "in; an answer in audio is refused"),
    "structured output": Does("translated", "refused beside tools before Gemini 3"),
    "thinking": Does("translated", "a budget for 2.5, a level from 3 on"),
    "logprobs": Does("translated"),
    "n": Does("translated", "up to 8"),
}
_QUIRKS: Final = (
    Quirk("an answer has no mark of its end: it is whole where every candidate has finished", "recorded, 2026-08"),
    Quirk("a function's call ends with STOP: callers are told tool_calls", "recorded, 2026-08"),
    Quirk("calls without an id get one, the same whenever the answer is read", "recorded, 2026-08"),
    Quirk("a call without its signature is sent as Google says to send another model's, from Gemini 3 on", _SIGNATURES),
    Quirk("later system messages are sent as the user's", _CALLING),
    Quirk("what stands beside tools' results is a turn of its own", "recorded requests, 2026-03"),
    Quirk("sampling is gone from 3.6 on and at 3.5 Flash-Lite, and no turn of the assistant may be last", _NEWEST),
    Quirk(
        "a finish that no word of OpenAI's says goes on as it is; without content it is an error", "recorded, 2026-02"
    ),
)

GEMINI: Final = Support(relays=frozenset(), features=_FEATURES, quirks=_QUIRKS)
VERTEX: Final = Support(
    relays=frozenset(),
    features=_FEATURES,
    quirks=(
        *_QUIRKS,
        Quirk("signatures of AI Studio are none here, nor the reverse: each is of its place", "recorded, 2026-08"),
        Quirk(
            "Anthropic's models are asked through rawPredict, in Anthropic's words: a relay for callers of Messages",
            "https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude, 2026-11",
        ),
        Quirk(
            "an input too long to embed is an error, unless auto_truncate is set",
            "https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api, 2026-11",
        ),
    ),
)
