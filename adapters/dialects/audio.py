"""OpenAI's audio, as callers speak it: https://platform.openai.com/docs/api-reference/audio (2026-11)."""

from __future__ import annotations

from typing import Final

import msgspec

from adapters.dialects._relayed import Relayed, RelayedForm
from gateway.core.errors import CallError
from gateway.core.types import Call, Headers


class _Request(msgspec.Struct, gc=False):
    input: str
    model: str | None = None
    stream_format: str | None = None


_request: Final = msgspec.json.Decoder(_Request)


class SpeechDialect(Relayed):
    """The caller's wire of `POST /v1/audio/speech`: sound comes back as it is made, or (`sse`) in events."""

    name = "speech"
    endpoint = "speech"
    path = "/v1/audio/speech"

    def parse(self, call_id: str, body: bytes, headers: Headers, received_at: int = 0) -> Call:
        """Reads what routing needs; raises BadRequest with the field in `param`."""
        request = self._read(body, _request)
        return self._call(
            call_id,
            body,
            headers,
            received_at,
            model=request.model,
            stream=request.stream_format == "sse",
            opaque=True,
        )

    def error_event(self, error: CallError, after: bytes = b"") -> bytes:
        """Returns nothing: there is no place for words in sound, and the connection is broken off instead."""
        return b""


class TranscriptionsDialect(RelayedForm):
    """The caller's wire of `POST /v1/audio/transcriptions`."""

    name = "transcriptions"
    endpoint = "transcriptions"
    path = "/v1/audio/transcriptions"


class TranslationsDialect(RelayedForm):
    """The caller's wire of `POST /v1/audio/translations`."""

    name = "translations"
    endpoint = "transcriptions"
    path = "/v1/audio/translations"
