"""OpenAI's moderations, as callers speak it: https://platform.openai.com/docs/api-reference/moderations (2026-11)."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from adapters.dialects._relayed import Relayed
from gateway.core.types import Call, Headers


class _Part(msgspec.Struct, gc=False):
    type: str = "text"


class _Request(msgspec.Struct, gc=False):
    # A text, texts, or texts and images.
    input: str | Annotated[list[str | _Part], msgspec.Meta(min_length=1)]
    model: str | None = None


_request: Final = msgspec.json.Decoder(_Request)


class ModerationsDialect(Relayed):
    """The caller's wire of `POST /v1/moderations`."""

    name = "moderations"
    endpoint = "moderations"
    path = "/v1/moderations"

    def parse(self, call_id: str, body: bytes, headers: Headers, received_at: int = 0) -> Call:
        """Reads what routing needs; raises BadRequest with the field in `param`."""
        request = self._read(body, _request)
        parts = request.input if isinstance(request.input, list) else []
        media = any(isinstance(part, _Part) and part.type != "text" for part in parts)
        return self._call(call_id, body, headers, received_at, model=request.model, has_media=media)
