"""A caller's Messages request as it goes on to a Claude at Vertex: as it came, less what stands elsewhere there.

The model is in the path, `anthropic_version` in the body, betas in their header, as Anthropic's own client for Vertex
sends them (anthropic.lib.vertex, 2026-11); `anthropic_beta` in the body alone is not heeded there
(https://github.com/BerriAI/litellm/pull/22321, 2026-02). A count names its model in the body, at a path of its own
(https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/count-tokens, 2026-11).
"""

from __future__ import annotations

import base64
from typing import Final

import msgspec

from adapters._anthropic_splice import JSON, opened
from adapters._blocks import Declarations
from gateway.core.adapter import Fetched, UpstreamRequest
from gateway.core.blocks import Json
from gateway.core.types import Call, Headers

# Vertex's own name for Anthropic's first version; a later one has the name that Anthropic gives it
# (anthropic.lib.vertex of SDK 2.11 sends the same in this field as to Anthropic's own API in its header, 2026-11).
VERSION: Final = "vertex-2023-10-16"
_FIRST: Final = b"2023-06-01"

_BETA: Final = b"anthropic-beta"

# Betas that clients ask for unasked, and that Vertex answers with a 400 ("Unexpected value(s)", recorded in
# https://github.com/Wei-Shaw/sub2api/issues/3358, 2026-06). Any other goes on, and is Vertex's to refuse.
_UNKNOWN_BETAS: Final = frozenset(
    {
        b"advisor-tool-2026-03-01",
        b"prompt-caching-scope-2026-01-05",
        b"redact-thinking-2026-02-12",
        b"thinking-token-count-2026-05-13",
    }
)

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def relayed(call: Call, path: str, model: str, fetched: Fetched) -> UpstreamRequest:
    """Returns the request; `path` ends before the method's name, in the segment of the model."""
    declarations = Declarations(call.strict)
    members = opened(call, declarations)
    if call.counting:
        members["model"] = msgspec.Raw(_encode(model))
        method = "rawPredict"
    else:
        members.pop("model", None)
        method = "streamRawPredict" if call.stream else "rawPredict"
    version = _forwarded(call, b"anthropic-version")
    members["anthropic_version"] = msgspec.Raw(_encode(VERSION if version in (b"", _FIRST) else version.decode()))
    if fetched:
        messages = _decode(members["messages"])
        _put_bytes(messages, fetched)
        members["messages"] = msgspec.Raw(_encode(messages))
    headers = (JSON, *_betas(call, declarations))
    return UpstreamRequest(
        f"{path}:{method}".encode(), _encode(members), headers=headers, warnings=declarations.warnings
    )


def _forwarded(call: Call, name: bytes) -> bytes:
    return next((value for given, value in call.forwarded if given == name), b"")


def _betas(call: Call, declarations: Declarations) -> Headers:
    """Returns the header of the betas that Vertex may know; a count takes none of those that a message may have."""
    named = [beta for each in _forwarded(call, _BETA).split(b",") if (beta := each.strip())]
    # https://github.com/BerriAI/litellm/pull/39597 (2026-09): of a count Vertex refuses betas that its messages take.
    kept = [] if call.counting else [beta for beta in named if beta not in _UNKNOWN_BETAS]
    for beta in named:
        if beta not in kept:
            declarations.declare(_BETA.decode(), f"Vertex does not know {beta.decode()} here, left out")
    return ((_BETA, b",".join(kept)),) if kept else ()


def _put_bytes(value: Json, fetched: Fetched) -> None:
    """Puts bytes in the place of URLs, which Anthropic's models at Vertex do not fetch, as far as they were fetched."""
    if isinstance(value, list):
        for item in value:
            _put_bytes(item, fetched)
    elif isinstance(value, dict):
        source = value.get("source")
        if isinstance(source, dict) and source.get("type") == "url" and source.get("url") in fetched:
            media_type, content = fetched[source["url"]]
            plain = media_type.partition(";")[0].strip().lower()
            if plain == "text/plain":
                value["source"] = {"type": "text", "media_type": plain, "data": content.decode("utf-8", "replace")}
            else:
                data = base64.b64encode(content).decode()
                value["source"] = {"type": "base64", "media_type": plain, "data": data}
        _put_bytes(value.get("content"), fetched)
