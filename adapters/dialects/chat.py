"""OpenAI's chat completions, as callers speak it: https://platform.openai.com/docs/api-reference/chat (2026-11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from adapters.dialects import _openai_replay
from adapters.dialects._chat_read import conversation
from adapters.dialects._chat_write import writer
from adapters.dialects._openai_errors import error_body, error_event
from adapters.dialects._openai_request import TOKENS_MAX, read_body, read_headers
from gateway.core.blocks import Conversation
from gateway.core.dialect import Writer
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, CallError
from gateway.core.money import Usage
from gateway.core.types import Call, Headers

Count = Annotated[int, msgspec.Meta(ge=1, le=TOKENS_MAX)]

_NONE: Final = msgspec.Raw(b"null")


class _Part(msgspec.Struct, gc=False):
    type: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None
    images: msgspec.Raw = _NONE  # that a model made; of any form, for those that relay them


class _Tool(msgspec.Struct, gc=False):
    type: str | None = None


class _Present(msgspec.Struct, gc=False):
    """An object of which only its being there counts."""


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class _ResponseFormat(msgspec.Struct, gc=False):
    type: str | None = None


class _Request(msgspec.Struct, gc=False):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    temperature: float | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    user: str | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = None
    functions: list[_Present] | None = None
    response_format: _ResponseFormat | None = None
    logprobs: bool | None = None
    store: bool | None = None
    web_search_options: _Present | None = None


# type of a content part -> what a deployment must be capable of
_MEDIA: Final = {"image_url": "vision", "input_image": "vision", "input_audio": "audio", "file": "file"}
_CALLERS_TOOLS: Final = (None, "function", "custom")
_NO_NEEDS: Final[frozenset[str]] = frozenset()

_request: Final = msgspec.json.Decoder(_Request)


class ChatDialect:
    """The caller's wire of `POST /v1/chat/completions`."""

    name = "chat"
    numbered = False
    endpoint = "chat"

    def parse(self, call_id: str, body: bytes, headers: Headers, received_at: int = 0) -> Call:
        """Reads what routing needs; raises BadRequest with the field in `param`. Unknown fields are the provider's."""
        request = read_body(body, _request)
        marks = read_headers(headers)
        needs, has_media = _needs(request)
        options = request.stream_options
        bound = request.max_completion_tokens
        # By place, in the order of `Call`: CPython compiles a call of more than fifteen keywords into a dict first.
        return Call(
            call_id,
            "chat",
            "chat",
            body,
            request.model or None,
            request.stream is True,
            request.temperature,
            bound if bound is not None else request.max_tokens,
            request.n or 1,
            request.user,
            options is not None and options.include_usage is True,
            needs,
            has_media,
            marks.labels,
            marks.cache_control,
            marks.timeout_s,
            marks.strict,
            not request.store and request.web_search_options is None and _is_callers(request.tools),
            received_at,
        )

    def conversation(self, call: Call) -> Conversation:
        return conversation(call)

    def embedding_request(self, call: Call) -> EmbeddingRequest:
        raise BadRequest("no embeddings are asked for")

    def fields(self, call: Call, names: Sequence[str]) -> Sequence[str]:
        return names

    def writer(self, call: Call, model: str) -> Writer:
        return writer(call, model)

    def error(self, error: CallError) -> bytes:
        return error_body(error)

    def error_event(self, error: CallError, after: bytes = b"") -> bytes:
        return error_event(error)

    def replay(self, body: bytes, streamed: bool, call: Call, usage: Usage | None = None) -> bytes:
        return _openai_replay.replay(_openai_replay.CHAT, body, streamed, call, usage)


def _is_callers(tools: list[_Tool] | None) -> bool:
    """Says whether all tools are run by the caller; a tool of any other type runs at the provider."""
    return not tools or all(tool.type in _CALLERS_TOOLS for tool in tools)


def _needs(request: _Request) -> tuple[frozenset[str], bool]:
    """Returns what an answer takes, and whether the request holds media."""
    needs: list[str] = []
    has_media = False
    for message in request.messages:
        content = message.content
        if message.images is not _NONE and bytes(message.images) not in (b"null", b"[]"):
            has_media = True
        if isinstance(content, list):
            for part in content:
                medium = _MEDIA.get(part.type or "")
                if medium is not None:
                    has_media = True
                    needs.append(medium)
    if request.tools or request.functions:
        needs.append("tools")
    if request.response_format is not None and request.response_format.type == "json_schema":
        needs.append("json_schema")
    if request.logprobs:
        needs.append("logprobs")
    if request.n is not None and request.n > 1:
        needs.append("n")
    return (frozenset(needs) if needs else _NO_NEEDS), has_media
