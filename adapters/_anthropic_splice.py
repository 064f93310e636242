"""A caller's Messages request as it goes on to Anthropic: as it came, with the model's name spliced in."""

from __future__ import annotations

from typing import Final

import msgspec

from adapters._anthropic_ids import has_odd_ids, safe_ids
from adapters._blocks import Declarations
from adapters._signatures import MARK, unwrap
from gateway.core.adapter import UpstreamRequest
from gateway.core.blocks import Json
from gateway.core.types import Call, Deployment, Headers

_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode
_MARK: Final = MARK.encode()
_ID_OF: Final = {"tool_use": "id", "tool_result": "tool_use_id"}
JSON: Final = (b"content-type", b"application/json")


def relayed(call: Call, deployment: Deployment, path: bytes, version: Headers) -> UpstreamRequest:
    """Splices the model's name; every other member keeps its bytes and its place."""
    declarations = Declarations(call.strict)
    members = opened(call, declarations)
    members["model"] = msgspec.Raw(_encode(deployment.model))
    headers = (JSON, *call.forwarded)
    if not any(name == b"anthropic-version" for name, _ in call.forwarded):
        headers = (*headers, *version)
    if any(name == b"anthropic-beta" for name, _ in call.forwarded):
        path += b"?beta=true"  # as Anthropic's own clients ask where they name a beta
    return UpstreamRequest(path, _encode(members), headers=headers, warnings=declarations.warnings)


def opened(call: Call, declarations: Declarations) -> dict[str, msgspec.Raw]:
    """Returns the body's members, each with its bytes.

    Only where the history holds what we framed of another provider is it changed: reasoning that Anthropic did not
    sign goes no further, and ids are as they were; those of another provider's that Anthropic refuses are written
    otherwise.
    """
    members = _decode_members(call.body)
    if _MARK in call.body:
        _unframe(members, declarations)
    if has_odd_ids(bytes(members.get("messages", b""))):
        _rename(members)
    return members


def _unframe(members: dict[str, msgspec.Raw], declarations: Declarations) -> None:
    messages = _decode(members["messages"])
    foreign = False
    kept: list[Json] = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            blocks = [_unframed(block) for block in content]
            message["content"] = [block for block in blocks if block is not None]
            foreign = foreign or len(message["content"]) < len(content)
            if not message["content"]:
                continue
        kept.append(message)
    members["messages"] = msgspec.Raw(_encode(kept))
    if not foreign:
        return
    declarations.declare("messages", "reasoning and blocks that Anthropic did not sign were left out")
    thinking = _decode(members["thinking"]) if "thinking" in members else None
    # https://platform.claude.com/docs/en/build-with-claude/extended-thinking#preserving-thinking-blocks (2026-11): with
    # a budget, a turn of tool calls that has no thinking block is refused.
    if isinstance(thinking, dict) and thinking.get("type") == "enabled" and _loops(kept):
        declarations.declare("thinking", "left out: the tool calls of the last turn came without their thinking blocks")
        del members["thinking"]


def _rename(members: dict[str, msgspec.Raw]) -> None:
    """Gives every tool call and its result an id that Anthropic takes."""
    messages = _decode(members["messages"])
    held = [
        (block, field)
        for message in messages
        for block in (message["content"] if isinstance(message.get("content"), list) else ())
        if isinstance(block, dict)
        and (field := _ID_OF.get(str(block.get("type")))) is not None
        and isinstance(block.get(field), str)
    ]
    safe = safe_ids(block[field] for block, field in held)
    for block, field in held:
        block[field] = safe[block[field]]
    members["messages"] = msgspec.Raw(_encode(messages))


def _unframed(block: Json) -> Json:
    """Returns a block as Anthropic may see it, None for one that is not its own."""
    kind = block.get("type") if isinstance(block, dict) else None
    if kind in ("thinking", "redacted_thinking"):
        framed = block.get("signature") if kind == "thinking" else block.get("data")
        return None if isinstance(framed, str) and unwrap(framed)[1] is not None else block
    name = _ID_OF.get(str(kind))
    if name is not None and isinstance(block.get(name), str):
        return {**block, name: unwrap(block[name])[0]}
    return block


def _loops(messages: list[Json]) -> bool:
    if len(messages) < 2:
        return False
    called, answered = messages[-2].get("content"), messages[-1].get("content")
    if not isinstance(called, list) or not isinstance(answered, list):
        return False
    kinds = [block.get("type") for block in called if isinstance(block, dict)]
    return answered[0].get("type") == "tool_result" and "tool_use" in kinds and "thinking" not in str(kinds[0])
