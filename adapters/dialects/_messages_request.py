"""What routing needs of a request to Anthropic's Messages, and of one that asks for its tokens only.

Source: https://platform.claude.com/docs/en/api/messages and …/api/messages-count-tokens (2026-11).
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec

from adapters.dialects._openai_request import TOKENS_MAX, read_body, read_headers
from gateway.core.types import Call, Headers


class _Part(msgspec.Struct, gc=False):
    type: str | None = None


class _Present(msgspec.Struct, gc=False):
    """An object of which only its being there counts."""


class _Block(msgspec.Struct, gc=False):
    """A block; the results of tools hold blocks of their own, or an object where the provider's tool failed."""

    type: str | None = None
    content: str | list[_Part] | _Present | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | list[_Block] | None = None


class _Tool(msgspec.Struct, gc=False):
    type: str | None = None


class _Format(msgspec.Struct, gc=False):
    type: str | None = None


class _OutputConfig(msgspec.Struct, gc=False):
    format: _Format | None = None


class _Metadata(msgspec.Struct, gc=False):
    user_id: str | None = None


class _Request(msgspec.Struct, gc=False):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    model: str | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)] | None = None
    stream: bool | None = None
    temperature: float | None = None
    tools: list[_Tool] | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None
    metadata: _Metadata | None = None
    container: str | _Present | None = None
    mcp_servers: list[_Present] | None = None


_request: Final = msgspec.json.Decoder(_Request)

_MEDIA: Final = {"image": "vision", "document": "file"}

# Tools that the caller runs, or that only help the model along: the rest searches, fetches, or runs code at the
# provider. https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-reference (2026-11)
_HARMLESS: Final = ("custom", "advisor_", "bash_", "browser_", "computer_", "memory_", "text_editor_", "tool_search_")

_NO_NEEDS: Final[frozenset[str]] = frozenset()

# The headers of a caller that Anthropic is to see, and what a value may look like.
_FORWARDED: Final = {
    b"anthropic-beta": re.compile(rb"[a-zA-Z0-9_.-]+(?:\s*,\s*[a-zA-Z0-9_.-]+)*"),
    b"anthropic-version": re.compile(rb"\d{4}-\d\d-\d\d"),
}


def read_call(call_id: str, body: bytes, headers: Headers, received_at: int, counting: bool) -> Call:
    """Reads a request; raises BadRequest with the field in `param`. Unknown fields are the provider's.

    A request to count is a call of the same dialect: rules that speak of messages hold for it too.
    """
    request = read_body(body, _request)
    marks = read_headers(headers)
    needs, has_media = _needs(request)
    metadata = request.metadata
    # By place, in the order of `Call`: CPython compiles a call of more than fifteen keywords into a dict first.
    return Call(
        call_id,
        "chat",
        "messages",
        body,
        request.model or None,
        request.stream is True and not counting,
        request.temperature,
        request.max_tokens,
        1,
        metadata.user_id if metadata is not None else None,
        False,
        needs,
        has_media,
        marks.labels,
        marks.cache_control,
        marks.timeout_s,
        marks.strict,
        counting or (not request.container and not request.mcp_servers and _are_harmless(request.tools)),
        received_at,
        forwarded=_forwarded(headers),
        counting=counting,
    )


def _forwarded(headers: Headers) -> Headers:
    found: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name[:10] == b"anthropic-" and name in _FORWARDED and _FORWARDED[name].fullmatch(value.strip()):
            found.append((name, value.strip()))
    if len(found) < 2:
        return tuple(found)
    merged: dict[bytes, bytes] = {}
    for name, value in found:  # a list may come in several lines (RFC 9110, 5.3)
        merged[name] = merged[name] + b"," + value if name in merged and name == b"anthropic-beta" else value
    return tuple(merged.items())


def _are_harmless(tools: list[_Tool] | None) -> bool:
    return not tools or all(tool.type is None or tool.type.startswith(_HARMLESS) for tool in tools)


def _needs(request: _Request) -> tuple[frozenset[str], bool]:
    """Returns what an answer takes, and whether the request holds media."""
    needs: list[str] = []
    has_media = False
    for message in request.messages:
        content = message.content
        if not isinstance(content, list):
            continue
        for block in content:
            medium = _MEDIA.get(block.type or "")
            if medium is not None:
                has_media = True
                needs.append(medium)
            elif block.type == "tool_result" and isinstance(block.content, list):
                for part in block.content:
                    medium = _MEDIA.get(part.type or "")
                    if medium is not None:
                        has_media = True
                        needs.append(medium)
    if request.tools:
        needs.append("tools")
    form = request.output_format or (request.output_config.format if request.output_config is not None else None)
    if form is not None and form.type == "json_schema":
        needs.append("json_schema")
    return (frozenset(needs) if needs else _NO_NEEDS), has_media
