"""Anthropic's wire: messages, token counts, models, errors."""

from __future__ import annotations

import base64
from random import Random
from typing import Final

import msgspec

from gateway.core.blocks import Json
from gateway.simulator.answers import Answer, Ask, Offered, count, key
from gateway.simulator.play import Frame, Part, Refused, Reply
from gateway.simulator.wire import members, positive, text_of

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STOPS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_IMAGE_TOKENS: Final = 1568  # the most that Anthropic counts for an image
_LEAST_THINKING: Final = 1024  # the smallest budget the provider takes


class Messages:
    """POST /v1/messages."""

    def read(self, body: dict[str, Json]) -> Ask:
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise Refused(400, "model: Field required")
        max_tokens = positive(body, "max_tokens")
        if max_tokens is None:
            raise Refused(400, "max_tokens: Field required")
        messages = members(body, "messages")
        if not messages:
            raise Refused(400, "messages: at least one message is required")
        if messages[0].get("role") != "user":
            raise Refused(400, 'messages: first message must use the "user" role')
        tools = members(body, "tools")
        choice = body.get("tool_choice") or {}
        thinking = body.get("thinking") or {}
        enabled = thinking.get("type") in ("enabled", "adaptive")
        if thinking.get("type") == "enabled" and (positive(thinking, "budget_tokens") or 0) < _LEAST_THINKING:
            raise Refused(400, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        parts = _parts(body, tools, messages)
        marks = [at for at, (_, marked) in enumerate(parts) if marked]
        last = messages[-1]
        output_format = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
        return Ask(
            model=model,
            prompt="".join(text for text, _ in parts),
            last="" if last.get("role") != "user" or _has_results(last) else text_of(last.get("content")),
            extra_input_tokens=4 * len(messages) + _IMAGE_TOKENS * sum(map(_media, messages)),
            stream=bool(body.get("stream")),
            max_tokens=max_tokens,
            stop=tuple(body.get("stop_sequences") or ()),
            tools=tuple(Offered(tool["name"], tool["input_schema"]) for tool in tools if "input_schema" in tool),
            tool_mode="required" if choice.get("type") == "any" else choice.get("type") or "auto",
            tool_name=choice.get("name"),
            parallel=not choice.get("disable_parallel_tool_use"),
            schema=output_format.get("schema"),
            thinking=enabled,
            marked="".join(text for text, _ in parts[: marks[-1] + 1]) if marks else None,
        )

    def reply(self, ask: Ask, answers: list[Answer], cached_tokens: int, serial: int) -> Reply:
        one = answers[0]
        marked = count(ask.marked) if ask.marked is not None else 0
        written = marked if ask.marked is not None and not cached_tokens else 0
        usage: dict[str, Json] = {
            "input_tokens": ask.input_tokens - cached_tokens - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": cached_tokens,
            "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
            "output_tokens": one.output_tokens,
            "service_tier": "standard",
        }
        message: dict[str, Json] = {
            "id": f"msg_01{key(Random(f'{ask.model}{serial}'), 22)}",
            "type": "message",
            "role": "assistant",
            "model": ask.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        ending: dict[str, Json] = {"stop_reason": _stop_reason(one), "stop_sequence": one.stop_sequence}
        if ask.stream:
            frames = _frames(message, one, usage, ending)
        else:
            message |= {"content": _content(one), **ending}
            frames = (Frame("content", msgspec.json.encode(message)),)
        return Reply(
            frames,
            stream=ask.stream,
            headers=(("request-id", f"req_{serial:024x}"),),
            error_event=b"event: error\ndata: " + self.failure(Refused(529, "Overloaded")) + b"\n\n",
            input_tokens=ask.input_tokens,
            cached_tokens=cached_tokens,
            output_tokens=one.output_tokens,
            finish=one.finish,
        )

    def failure(self, refused: Refused) -> bytes:
        kind = _TYPES.get(refused.status, "invalid_request_error" if refused.status < 500 else "api_error")
        if refused.code == "context_length_exceeded":
            message = "prompt is too long: 208310 tokens > 200000 maximum"
        elif refused.code == "insufficient_quota":
            message = "Your credit balance is too low to access the Anthropic API."
        else:
            message = refused.message
        error = {"type": kind, "message": message}
        return msgspec.json.encode({"type": "error", "error": error, "request_id": "req_simulator"})


def count_tokens(body: dict[str, Json]) -> bytes:
    """Answers POST /v1/messages/count_tokens; raises Refused."""
    return msgspec.json.encode({"input_tokens": Messages().read({"max_tokens": 1, **body}).input_tokens})


def models(names: tuple[str, ...]) -> bytes:
    """Answers GET /v1/models in Anthropic's shape."""
    data = [{"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"} for name in names]
    page = {
        "data": data,
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }
    return msgspec.json.encode(page)


def _stop_reason(one: Answer) -> str:
    if one.stop_sequence is not None and one.finish == "stop":
        return "stop_sequence"
    if one.calls and one.finish == "stop":
        return "tool_use"
    return _STOPS.get(one.finish, one.finish)


def _content(one: Answer) -> list[Json]:
    content: list[Json] = []
    if one.thinking:
        thinking = "".join(one.thinking)
        content.append({"type": "thinking", "thinking": thinking, "signature": _signature(thinking)})
    if one.pieces:
        content.append({"type": "text", "text": one.text})
    content += [
        {"type": "tool_use", "id": f"toolu_01{call.key[:22]}", "name": call.name, "input": _input(call.pieces)}
        for call in one.calls
    ]
    return content


def _frames(
    message: dict[str, Json], one: Answer, usage: dict[str, Json], ending: dict[str, Json]
) -> tuple[Frame, ...]:
    begun = {**message, "usage": {**usage, "output_tokens": 1}}
    frames = [_frame("head", "message_start", {"message": begun})]
    index = 0

    def block(opening: dict[str, Json], deltas: list[dict[str, Json]]) -> None:
        nonlocal index
        frames.append(_frame("head", "content_block_start", {"index": index, "content_block": opening}))
        if index == 0:
            frames.append(_frame("head", "ping", {}))
        frames.extend(
            _frame(
                "head" if delta["type"] == "signature_delta" else "content",
                "content_block_delta",
                {"index": index, "delta": delta},
            )
            for delta in deltas
        )
        frames.append(_frame("head", "content_block_stop", {"index": index}))
        index += 1

    if one.thinking:
        thoughts: list[dict[str, Json]] = [{"type": "thinking_delta", "thinking": piece} for piece in one.thinking]
        thoughts.append({"type": "signature_delta", "signature": _signature("".join(one.thinking))})
        block({"type": "thinking", "thinking": "", "signature": ""}, thoughts)
    if one.pieces:
        block({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in one.pieces])
    for call in one.calls:
        opening = {"type": "tool_use", "id": f"toolu_01{call.key[:22]}", "name": call.name, "input": {}}
        pieces = ("", *call.pieces)  # the first delta of a tool's input is empty
        block(opening, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces])
    final = {name: value for name, value in usage.items() if name.endswith("_tokens")}
    frames.append(_frame("finish", "message_delta", {"delta": ending, "usage": final}))
    frames.append(_frame("done", "message_stop", {}))
    return tuple(frames)


def _frame(part: Part, event: str, fields: dict[str, Json]) -> Frame:
    data = msgspec.json.encode({"type": event, **fields})
    return Frame(part, b"event: %b\ndata: %b\n\n" % (event.encode(), data))


def _signature(thinking: str) -> str:
    return base64.b64encode(f"simulator:{len(thinking)}:{thinking[:24]}".encode()).decode()


def _input(pieces: tuple[str, ...]) -> Json:
    try:
        return msgspec.json.decode("".join(pieces))
    except msgspec.DecodeError:
        return {}  # cut off by max_tokens: the provider shows what parses


def _parts(body: dict[str, Json], tools: list[Json], messages: list[Json]) -> list[tuple[str, bool]]:
    """Returns the prompt in the order in which the provider caches it (tools, system, messages), with its marks."""
    parts: list[tuple[str, bool]] = [
        (msgspec.json.encode({**tool, "cache_control": None}).decode(), bool(tool.get("cache_control")))
        for tool in tools
    ]
    system = body.get("system")
    blocks = [system] if isinstance(system, str) else list(system or ())
    for message in messages:
        content = message.get("content")
        blocks.append(f"<{message.get('role')}>")
        blocks += [content] if isinstance(content, str) else list(content or ())
    for block in blocks:
        if isinstance(block, dict):
            text = text_of([block]) or (msgspec.json.encode(block["input"]).decode() if "input" in block else "")
            parts.append((text, bool(block.get("cache_control"))))
        else:
            parts.append((str(block), False))
    return parts


def _has_results(message: dict[str, Json]) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(block.get("type") == "tool_result" for block in content)


def _media(message: dict[str, Json]) -> int:
    content = message.get("content")
    if not isinstance(content, list):
        return 0
    return sum(block.get("type") in ("image", "document") for block in content)
