"""Reads vectors, in the forms of OpenAI, Gemini, Cohere and Ollama; as floats or as base64 of little-endian floats."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

from tests.corpus.reading import Counts, Reading


def openai(raw: bytes) -> Reading:
    """Reads OpenAI's list."""
    body = json.loads(raw)
    data = sorted(body["data"], key=lambda each: each.get("index", 0))
    usage = body.get("usage") or {}
    tokens = usage.get("prompt_tokens", usage.get("total_tokens"))
    return Reading(
        ended=True,
        vectors=[vector(each["embedding"]) for each in data],
        counts=None if tokens is None else Counts(tokens),
    )


def gemini(raw: bytes) -> Reading:
    """Reads one embedding, or a batch of them."""
    body = json.loads(raw)
    tokens = (body.get("usageMetadata") or {}).get("promptTokenCount")
    return Reading(
        ended=True,
        vectors=[each["values"] for each in body.get("embeddings") or [body["embedding"]]],
        counts=None if tokens is None else Counts(tokens),
    )


def cohere(raw: bytes) -> Reading:
    """Reads embeddings by type."""
    body = json.loads(raw)
    billed = ((body.get("meta") or {}).get("billed_units") or {}).get("input_tokens")
    return Reading(
        ended=True, vectors=body["embeddings"]["float"], counts=None if billed is None else Counts(int(billed))
    )


def ollama(raw: bytes) -> Reading:
    """Reads /api/embed."""
    body = json.loads(raw)
    return Reading(ended=True, vectors=body["embeddings"], counts=Counts(body.get("prompt_eval_count") or 0))


def moderated(raw: bytes) -> Reading:
    """Reads a moderation: the score of each category, by its name."""
    results = json.loads(raw)["results"]
    return Reading(
        ended=True, vectors=[[score for _, score in sorted(each["category_scores"].items())] for each in results]
    )


def reranked(raw: bytes) -> Reading:
    """Reads documents in their order of relevance, as OpenRouter and Cohere write it."""
    body = json.loads(raw)
    tokens = (body.get("usage") or {}).get("total_tokens")
    return Reading(
        ended=True,
        vectors=[[each["index"], each["relevance_score"]] for each in body["results"]],
        counts=None if tokens is None else Counts(tokens),
    )


def vector(written: Any) -> list[float]:
    """Returns a vector of floats."""
    if isinstance(written, str):
        data = base64.b64decode(written)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    return [float(each) for each in written]
