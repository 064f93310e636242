"""What becomes of callers' wishes at Bedrock: its row of the support matrix."""

from __future__ import annotations

from typing import Final

from adapters._support import Does, Quirk, Support

_CONVERSE: Final = "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, 2026-11"

SUPPORT: Final = Support(
    relays=frozenset(),
    features={
        "tools": Does("translated", "what may be forced depends on the model's family: else refused"),
        "images by URL": Does("translated", "fetched by the gateway and sent as bytes"),
        "images as bytes": Does("translated"),
        "documents": Does("translated", "names are made safe; a full stop is put beside one without words"),
        "audio": Does("translated", "in; audio out is refused"),
        "structured output": Does(
            "translated", "by the model where it can, else through a tool; refused where neither"
        ),
        "thinking": Does("translated", "in the words of the model's family; else dropped and declared"),
        "logprobs": Does("refused"),
        "n": Does("refused"),
    },
    quirks=(
        Quirk("a stream is binary frames with checksums; usage comes after the stop", "recorded, 2025 and 2026"),
        Quirk("cached tokens are not in inputTokens", "recorded, 2025 and 2026"),
        Quirk(
            "an error's type stands in x-amzn-errortype; a text that is too long is told by words", "recorded, 2026-08"
        ),
        Quirk("tools' names and ids are at most 64 letters, digits and a few signs: others are changed", _CONVERSE),
        Quirk(
            "the finishes malformed_model_output and malformed_tool_use go on as they are: they are no natural end",
            _CONVERSE,
        ),
        Quirk(
            "Titan and Nova embed one text a call: more are refused",
            "https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html, 2026-11",
        ),
    ),
)
