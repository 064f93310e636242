"""The vocabulary of embeddings between dialects: what a caller wants embedded; `Embedded` events bring the vectors."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.core.blocks import Json


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """Inputs in their order: texts, or tokens of the model's own vocabulary.

    `input_type` is what the vectors are for, in Cohere's words (search_document, search_query, classification,
    clustering), where the caller said. `base64` wants each vector as base64 of little-endian float32.
    """

    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    base64: bool = False
    input_type: str | None = None
    user: str | None = None
    extra: Mapping[str, Json] = {}
