"""Anthropic's Messages, as callers speak it: https://platform.claude.com/docs/en/api/messages (2026-11)."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.dialects import _messages_replay
from adapters.dialects._messages_errors import error_body, error_event
from adapters.dialects._messages_fields import fields
from adapters.dialects._messages_read import conversation
from adapters.dialects._messages_request import read_call
from adapters.dialects._messages_write import writer
from gateway.core.blocks import Conversation
from gateway.core.dialect import Writer
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, CallError
from gateway.core.money import Usage
from gateway.core.types import Call, Headers


class MessagesDialect:
    """The caller's wire of `POST /v1/messages`."""

    name = "messages"
    numbered = False
    endpoint = "chat"

    def parse(self, call_id: str, body: bytes, headers: Headers, received_at: int = 0) -> Call:
        """Reads what routing needs; raises BadRequest with the field in `param`. Unknown fields are the provider's."""
        return read_call(call_id, body, headers, received_at, counting=False)

    def conversation(self, call: Call) -> Conversation:
        return conversation(call)

    def embedding_request(self, call: Call) -> EmbeddingRequest:
        raise BadRequest("no embeddings are asked for")

    def fields(self, call: Call, names: Sequence[str]) -> Sequence[str]:
        return fields(call, names)

    def writer(self, call: Call, model: str) -> Writer:
        return writer(call, model)

    def error(self, error: CallError) -> bytes:
        return error_body(error)

    def error_event(self, error: CallError, after: bytes = b"") -> bytes:
        return error_event(error)

    def replay(self, body: bytes, streamed: bool, call: Call, usage: Usage | None = None) -> bytes:
        """Rewrites a kept answer; its usage is in it, whoever asked first."""
        return _messages_replay.replay(body, streamed, call)
