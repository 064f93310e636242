"""Reads Gemini's generateContent, of its own API and of Vertex."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.corpus.reading import Called, Counts, Reading, Said, objects, unknown

WORDS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    # "Token generation was stopped because …": safety, recitation, terms and personal data are all a filter's
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "IMAGE_SAFETY",
            "LANGUAGE",
            "MODEL_ARMOR",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ),
        "content_filter",
    ),
    # the enum's numbers, as protobuf's JSON also allows
    1: "stop",
    2: "length",
    3: "content_filter",
    4: "content_filter",
}


def whole(raw: bytes) -> Reading:
    """Reads one answer."""
    return _read([json.loads(raw)], True)


def stream(raw: bytes, cut: bool = True) -> Reading:
    """Reads an event stream, or a bare error in its place."""
    chunks = list(objects(raw, cut))
    if not chunks:
        try:
            chunks = [json.loads(raw)]
        except ValueError:
            chunks = []
    return _read(chunks, False)


def array(raw: bytes, cut: bool = True) -> Reading:
    """Reads the elements of an array that may be cut off."""
    decoder = json.JSONDecoder()
    text = raw.decode("utf-8", "ignore").lstrip()
    chunks = []
    place = 1
    while place < len(text):
        while place < len(text) and text[place] in ", \r\n\t]":
            place += 1
        try:
            chunk, place = decoder.raw_decode(text, place)
        except ValueError:
            break
        chunks.append(chunk)
    return _read(chunks, False)


def _read(chunks: list[Any], ended: bool) -> Reading:
    reading = Reading(ended=ended)
    for chunk in chunks:
        chunk = chunk.get("response", chunk) if "candidates" not in chunk else chunk
        reading.error = reading.error or chunk.get("error")
        for place, candidate in enumerate(chunk.get("candidates") or []):
            said = reading.choice(candidate.get("index", place))
            for part in (candidate.get("content") or {}).get("parts") or []:
                if part.get("thoughtSignature"):
                    said.signatures.append(part["thoughtSignature"])
                if "functionCall" in part:
                    _call(said, part["functionCall"])
                elif "text" in part:
                    if part.get("thought"):
                        said.reasoning += part["text"]
                    else:
                        said.text += part["text"]
                elif "inlineData" in part:
                    said.images.append(part["inlineData"]["data"])
                else:
                    said.opaque += [name for name in part if name not in ("thoughtSignature", "thought")]
            native = candidate.get("finishReason")
            if native:
                said.finish = WORDS.get(native, unknown(str(native)))
                if said.finish == "stop" and said.calls:
                    said.finish = "tool_calls"
        if (chunk.get("promptFeedback") or {}).get("blockReason"):
            reading.choice().finish = "content_filter"
            reading.choice().refusal = chunk["promptFeedback"].get("blockReasonMessage") or ""
        if chunk.get("usageMetadata"):
            reading.counts = counts(chunk["usageMetadata"])
    reading.ended = ended or reading.finished
    return reading


def _call(said: Said, call: dict[str, Any]) -> None:
    """Reads a call that comes whole, or in parts: a name first, then values by the path where they belong."""
    if "name" in call:
        said.calls.append(Called(call["name"], dict(call.get("args") or {})))
    for part in call.get("partialArgs") or []:
        place = said.calls[-1].arguments
        *path, last = re.findall(r"[^.$\[\]]+", part["jsonPath"])
        for step in path:
            place = place.setdefault(step, {})
        [value] = [value for name, value in part.items() if name.endswith("Value")]
        place[last] = place.get(last, "") + value if isinstance(value, str) else value


def counts(usage: dict[str, Any]) -> Counts:
    """Reads usage: thoughts beside the candidates, the tools' beside the prompt, unless the total differs."""
    prompt = usage.get("promptTokenCount") or 0
    tools = usage.get("toolUsePromptTokenCount") or 0
    thoughts = usage.get("thoughtsTokenCount") or 0
    candidates = usage.get("candidatesTokenCount") or 0
    total = usage.get("totalTokenCount")
    into, out = prompt + tools, candidates + thoughts
    if total not in (None, into + out):
        if total == prompt + candidates:
            into, out = prompt, candidates
        elif total == prompt + out:
            into = prompt
        elif total == into + candidates:
            out = candidates
        else:
            return Counts(-1)
    return Counts(into, usage.get("cachedContentTokenCount") or 0, 0, out, thoughts)
