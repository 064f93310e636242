"""What Google takes: its SDK's own request types, and a strict fake for the rules that types do not say."""

from __future__ import annotations

import json
from typing import Any

from google.genai import types

SENTINEL = "skip_thought_signature_validator"
TOP = {"contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig"} | {
    "cachedContent",
    "labels",
    "serviceTier",
    "modelArmorConfig",
}


def accepted(body: dict[str, Any], signs: bool) -> None:
    """Asserts that Google would take a body; `signs`: its model asks for thought signatures."""
    typed(body)
    held(body["contents"], signs)


def typed(body: dict[str, Any]) -> None:
    """Asserts that the SDK's types, which forbid fields they do not know, hold every field."""
    assert set(body) <= TOP
    for content in body["contents"]:
        types.Content.model_validate_json(json.dumps(content))
    config = dict(body.get("generationConfig", {}))
    assert not {"tools", "systemInstruction"} & set(config)
    types.GenerationConfig.model_validate_json(
        json.dumps({name: value for name, value in config.items() if name not in ("imageConfig",)})
    )
    beside = {name: body[name] for name in TOP - {"contents", "generationConfig"} if name in body}
    types.GenerateContentConfig.model_validate_json(json.dumps({**config, **beside}))


def held(contents: list[dict[str, Any]], signs: bool) -> None:
    """Asserts the rules of a history.

    Sides alternate, but for what a user says beside the responses of functions; a turn of functions is answered at
    once, by as many responses of the same names, in the calls' order; the first call of a step is signed; nothing is
    empty.
    """
    assert contents
    assert contents[0]["role"] == "user"
    waiting: list[tuple[str, Any]] = []
    previous: dict[str, Any] | None = None
    for content in contents:
        role, parts = content["role"], content["parts"]
        assert role in ("user", "model")
        assert parts
        responses = [part["functionResponse"] for part in parts if "functionResponse" in part]
        assert [(each["name"], each.get("id")) for each in responses] == waiting
        assert len(responses) in (0, len(parts))
        if previous is not None and previous["role"] == role:
            assert role == "user"
            assert all("functionResponse" in part for part in previous["parts"])
            assert not responses
        calls = [part for part in parts if "functionCall" in part]
        waiting = [(part["functionCall"]["name"], part["functionCall"].get("id")) for part in calls]
        if calls:
            assert role == "model"
            assert not signs or calls[0].get("thoughtSignature")
            assert all(part.get("thoughtSignature") != SENTINEL for part in calls[1:])
        if role == "user" and not responses:
            assert any(part.get("text") for part in parts)
        for part in parts:
            kinds = set(part) - {"thought", "thoughtSignature", "videoMetadata", "mediaResolution"}
            assert len(kinds) <= 1  # a client may send metadata as a part of its own
            assert part.get("text") != "" or "thoughtSignature" in part
        previous = content
    assert not waiting
