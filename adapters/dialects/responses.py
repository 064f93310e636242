"""OpenAI's Responses, as callers speak them: https://platform.openai.com/docs/api-reference/responses (2026-11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from adapters.dialects import _responses_replay
from adapters.dialects._openai_errors import error_body
from adapters.dialects._openai_request import TOKENS_MAX, read_body, read_headers
from adapters.dialects._responses_envelope import error_event, is_minted
from adapters.dialects._responses_fields import fields
from adapters.dialects._responses_read import LOGPROBS, conversation
from adapters.dialects._responses_write import writer
from gateway.core.blocks import Conversation
from gateway.core.dialect import Writer
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, CallError
from gateway.core.money import Usage
from gateway.core.types import Call, Headers, Reference


class _Part(msgspec.Struct, gc=False):
    type: str | None = None


class _Item(msgspec.Struct, gc=False):
    type: str | None = None
    id: str | None = None
    content: str | list[_Part] | None = None
    output: str | list[_Part] | _Part | None = None
    encrypted_content: str | None = None


class _Present(msgspec.Struct, gc=False):
    """An object of which only its being there counts."""


class _Named(msgspec.Struct, gc=False):
    id: str | None = None


class _Tool(msgspec.Struct, gc=False):
    type: str | None = None
    container: str | _Present | None = None  # by its id, what was put into it before


class _Format(msgspec.Struct, gc=False):
    type: str | None = None


class _Text(msgspec.Struct, gc=False):
    format: _Format | None = None


class _Request(msgspec.Struct, gc=False):
    input: str | list[_Item] | None = None
    model: str | None = None
    stream: bool | None = None
    temperature: float | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1, le=TOKENS_MAX)] | None = None
    user: str | None = None
    tools: list[_Tool] | None = None
    text: _Text | None = None
    top_logprobs: int | None = None
    include: list[str] | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: str | _Named | None = None
    prompt: _Present | None = None


# type of a content part -> what a deployment must be capable of
_MEDIA: Final = {
    "input_image": "vision",
    "computer_screenshot": "vision",
    "input_audio": "audio",
    "input_file": "file",
}
# Items that stand for what no detector reads: pictures that were made, and a conversation that OpenAI compacted.
_OPAQUE_ITEMS: Final = frozenset({"image_generation_call", "compaction"})
_CALLERS_TOOLS: Final = (None, "function", "custom")
_NO_NEEDS: Final[frozenset[str]] = frozenset()

_request: Final = msgspec.json.Decoder(_Request)


class ResponsesDialect:
    """The caller's wire of `POST /v1/responses`.

    Its family is "chat": the same question in other words, and whoever can be asked the one can be asked the other.
    """

    name = "responses"
    numbered = True
    endpoint = "chat"

    def parse(self, call_id: str, body: bytes, headers: Headers, received_at: int = 0) -> Call:
        """Reads what routing needs; raises BadRequest with the field in `param`. Unknown fields are the provider's."""
        request = read_body(body, _request)
        marks = read_headers(headers)
        references: list[Reference] = []
        needs, has_media = _needs(request, references)
        # By place, in the order of `Call`: CPython compiles a call of more than fifteen keywords into a dict first.
        return Call(
            call_id,
            "chat",
            "responses",
            body,
            request.model or None,
            request.stream is True,
            request.temperature,
            request.max_output_tokens,
            1,
            request.user,
            True,  # every answer tells its usage
            needs,
            has_media,
            marks.labels,
            marks.cache_control,
            marks.timeout_s,
            marks.strict,
            _is_repeatable(request),
            received_at,
            references=tuple(references),
            kept=request.store is not False,
        )

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
        return error_event(error, after)

    def replay(self, body: bytes, streamed: bool, call: Call, usage: Usage | None = None) -> bytes:
        """Rewrites a kept answer; its usage is always in it."""
        return _responses_replay.replay(body, streamed, call)


def _reference(name: str, field: str) -> Reference:
    return Reference(name, field, ours=is_minted(name))


def _is_repeatable(request: _Request) -> bool:
    """Says whether a second try does no more than answer.

    Where `store` is not set OpenAI keeps a response all the same; that nobody was ever told its id harms nobody, and
    most callers never set it: only who asks for it by name is taken to care. Items of a conversation would double.
    """
    if request.store or request.background or request.conversation is not None:
        return False
    return not request.tools or all(tool.type in _CALLERS_TOOLS for tool in request.tools)


def _needs(request: _Request, references: list[Reference]) -> tuple[frozenset[str], bool]:
    """Returns what an answer takes, and whether the request holds media; gathers the ids that stand for content."""
    needs: list[str] = []
    has_media = request.prompt is not None
    if request.previous_response_id is not None:
        references.append(_reference(request.previous_response_id, "previous_response_id"))
    named = request.conversation
    if named is not None and (name := named if isinstance(named, str) else named.id) is not None:
        references.append(Reference(name, "conversation", required=False))
    if isinstance(request.input, list):
        for index, item in enumerate(request.input):
            for content in (item.content, item.output):
                for part in content if isinstance(content, list) else (content,) if isinstance(content, _Part) else ():
                    medium = _MEDIA.get(part.type or "")
                    if medium is not None:
                        has_media = True
                        needs.append(medium)
            if item.type in _OPAQUE_ITEMS:
                has_media = True
            elif item.type == "item_reference" and item.id is not None:
                references.append(_reference(item.id, f"input.{index}.id"))
            elif item.type == "reasoning" and item.id is not None and not (item.encrypted_content or item.content):
                if is_minted(item.id):
                    continue
                references.append(Reference(item.id, f"input.{index}.id", required=False))
    if request.tools:
        needs.append("tools")
        has_media = has_media or any(
            tool.type == "file_search" or isinstance(tool.container, str) for tool in request.tools
        )
    if request.text is not None and request.text.format is not None and request.text.format.type == "json_schema":
        needs.append("json_schema")
    if request.top_logprobs or (request.include and LOGPROBS in request.include):
        needs.append("logprobs")
    return (frozenset(needs) if needs else _NO_NEEDS), has_media
