"""Anthropic's token counts, as callers ask for them.

Source: https://platform.claude.com/docs/en/api/messages-count-tokens (2026-11). The request is that of a message, and
is planned like one: what is counted is what would be asked of the place it would go to. A provider that counts is asked
(`Deployment.counts`); for every other one the gateway estimates, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from adapters.dialects._messages_errors import error_body, error_event
from adapters.dialects._messages_fields import fields
from adapters.dialects._messages_read import conversation
from adapters.dialects._messages_request import read_call
from gateway.core.blocks import Conversation, Event, Metered
from gateway.core.dialect import Writer
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, CallError
from gateway.core.money import Usage
from gateway.core.types import Call, Headers


class CountTokensDialect:
    """The caller's wire of `POST /v1/messages/count_tokens`; a writer takes `Metered`, and nothing else counts."""

    name = "count_tokens"
    numbered = False
    endpoint = "chat"

    def parse(self, call_id: str, body: bytes, headers: Headers, received_at: int = 0) -> Call:
        """Reads what routing needs; raises BadRequest with the field in `param`. A count is never kept."""
        return read_call(call_id, body, headers, received_at, counting=True)

    def conversation(self, call: Call) -> Conversation:
        return conversation(call)

    def embedding_request(self, call: Call) -> EmbeddingRequest:
        raise BadRequest("no embeddings are asked for")

    def fields(self, call: Call, names: Sequence[str]) -> Sequence[str]:
        return fields(call, names)

    def writer(self, call: Call, model: str) -> Writer:
        return _Count()

    def error(self, error: CallError) -> bytes:
        return error_body(error)

    def error_event(self, error: CallError, after: bytes = b"") -> bytes:
        return error_event(error)

    def replay(self, body: bytes, streamed: bool, call: Call, usage: Usage | None = None) -> bytes:
        return body


class _Count:
    """Writes a prompt's tokens, `estimated` where nobody counted them."""

    __slots__ = ("_usage",)

    def __init__(self) -> None:
        self._usage = Usage()

    def write(self, event: Event) -> bytes:
        if isinstance(event, Metered):
            self._usage = event.usage
        return b""

    def end(self) -> bytes:
        count: dict[str, int | bool] = {"input_tokens": self._usage.input_tokens}
        if self._usage.estimated:
            count["estimated"] = True
        return msgspec.json.encode(count)
