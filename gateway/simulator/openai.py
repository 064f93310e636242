"""OpenAI's wire: chat completions, legacy completions, embeddings, models, errors."""

from __future__ import annotations

import base64
import math
import struct
import time
from random import Random
from typing import Final

import msgspec

from gateway.core.blocks import Json
from gateway.simulator.answers import Answer, Ask, Offered, count, key
from gateway.simulator.play import Frame, Refused, Reply
from gateway.simulator.wire import members, positive, text_of

_IMAGE_TOKENS: Final = 85  # what OpenAI counts for an image at low detail
_EMBEDDING_SIZE: Final = 1536
_TYPES: Final = {401: "invalid_request_error", 403: "permission_error", 429: "requests"}
DONE: Final = Frame("done", b"data: [DONE]\n\n")


class Chat:
    """POST /v1/chat/completions."""

    def read(self, body: dict[str, Json]) -> Ask:
        model = _model(body)
        messages = members(body, "messages")
        if not messages:
            raise Refused(400, "Missing required parameter: 'messages'.", param="messages")
        n = positive(body, "n") or 1
        tools = members(body, "tools")
        mode, name = _tool_choice(body.get("tool_choice"))
        last = messages[-1]
        stop = body.get("stop")
        return Ask(
            model=model,
            prompt="".join(map(_rendered, messages)) + (_json(tools) if tools else ""),
            last=text_of(last.get("content")) if last.get("role") == "user" else "",
            extra_input_tokens=3 * len(messages) + _IMAGE_TOKENS * sum(map(_media, messages)),
            seed=body.get("seed") or 0,
            stream=bool(body.get("stream")),
            include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            usage_each=bool((body.get("stream_options") or {}).get("continuous_usage_stats")),
            max_tokens=positive(body, "max_completion_tokens") or positive(body, "max_tokens"),
            min_tokens=body.get("min_tokens") or 0,
            stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
            n=n,
            tools=tuple(_offered(tool) for tool in tools if tool.get("type") == "function"),
            tool_mode=mode,
            tool_name=name,
            parallel=body.get("parallel_tool_calls") is not False,
            schema=_schema(body.get("response_format")),
            thinking=body.get("reasoning_effort") not in (None, "none"),
            logprobs=bool(body.get("logprobs")),
        )

    def reply(self, ask: Ask, answers: list[Answer], cached_tokens: int, serial: int) -> Reply:
        envelope = self.envelope(ask, serial)
        usage = self.usage(ask, answers, cached_tokens)
        event = b"data: " + self.failure(Refused(500, "The server had an error.", code="server_error")) + b"\n\n"
        if ask.stream:
            frames = self._frames(ask, answers, envelope, usage)
        else:
            choices = [
                {
                    "index": index,
                    "message": self.message(one),
                    "logprobs": _logprobs(ask, one.pieces),
                    **self.ending(one),
                }
                for index, one in enumerate(answers)
            ]
            whole = {**envelope, "object": "chat.completion", "choices": choices, "usage": usage}
            frames = (Frame("content", msgspec.json.encode(whole)),)
        return Reply(
            frames,
            stream=ask.stream,
            headers=(("x-request-id", f"req_{serial:032x}"), ("openai-processing-ms", "2")),
            error_event=event,
            input_tokens=ask.input_tokens,
            cached_tokens=cached_tokens,
            output_tokens=sum(one.output_tokens for one in answers),
            finish=answers[0].finish,
        )

    def envelope(self, ask: Ask, serial: int) -> dict[str, Json]:
        """Returns the fields that an answer and each of its chunks share."""
        return {
            "id": f"chatcmpl-{key(Random(f'{ask.model}{serial}'), 29)}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": ask.model,
            "service_tier": "default",
            "system_fingerprint": "fp_simulator",
        }

    def usage(self, ask: Ask, answers: list[Answer], cached_tokens: int) -> dict[str, Json]:
        """Returns the usage object; OpenAI counts reasoning within the completion."""
        return {
            **_totals(ask, answers),
            "prompt_tokens_details": {"cached_tokens": cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": sum(len(one.thinking) for one in answers),
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def message(self, one: Answer) -> dict[str, Json]:
        """Returns the message of a whole answer; OpenAI keeps the reasoning to itself."""
        message: dict[str, Json] = {"role": "assistant", "content": one.text or None, "refusal": None}
        if one.calls:
            message["tool_calls"] = [
                {
                    "id": f"call_{call.key}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": "".join(call.pieces)},
                }
                for call in one.calls
            ]
        return message

    def ending(self, one: Answer) -> dict[str, Json]:
        """Returns what a choice says at its end."""
        return {"finish_reason": one.finish}

    def reasoning(self, piece: str) -> dict[str, Json] | None:
        """Returns the delta of a piece of reasoning, or None where this provider does not show it."""
        return None

    def failure(self, refused: Refused) -> bytes:
        kind = _TYPES.get(refused.status, "invalid_request_error" if refused.status < 500 else "server_error")
        if refused.code == "insufficient_quota":
            kind = "insufficient_quota"
        error = {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code}
        return msgspec.json.encode({"error": error})

    def _frames(
        self, ask: Ask, answers: list[Answer], envelope: dict[str, Json], usage: dict[str, Json]
    ) -> tuple[Frame, ...]:
        tail = {"usage": None} if ask.include_usage else {}
        frames: list[Frame] = []

        def chunk(index: int, delta: dict[str, Json], pieces: tuple[str, ...], ending: dict[str, Json]) -> bytes:
            choice = {"index": index, "delta": delta, "logprobs": _logprobs(ask, pieces), **ending}
            return b"data: " + msgspec.json.encode({**envelope, "choices": [choice], **tail}) + b"\n\n"

        open_ending: dict[str, Json] = {"finish_reason": None}
        for index in range(len(answers)):
            opening = {"role": "assistant", "content": "", "refusal": None}
            frames.append(Frame("head", chunk(index, opening, (), open_ending)))
        for index, one in enumerate(answers):
            thoughts = [delta for thought in one.thinking if (delta := self.reasoning(thought)) is not None]
            frames += [Frame("content", chunk(index, delta, (), open_ending)) for delta in thoughts]
            frames += [Frame("content", chunk(index, {"content": p}, (p,), open_ending)) for p in one.pieces]
            for position, call in enumerate(one.calls):
                function: dict[str, Json] = {"name": call.name, "arguments": ""}
                begun = {"index": position, "id": f"call_{call.key}", "type": "function", "function": function}
                frames.append(Frame("content", chunk(index, {"tool_calls": [begun]}, (), open_ending)))
                for piece in call.pieces:
                    more = {"index": position, "function": {"arguments": piece}}
                    frames.append(Frame("content", chunk(index, {"tool_calls": [more]}, (), open_ending)))
        frames += [Frame("finish", chunk(index, {}, (), self.ending(one))) for index, one in enumerate(answers)]
        if ask.include_usage:
            last = {**envelope, "choices": [], "usage": usage}
            frames.append(Frame("usage", b"data: " + msgspec.json.encode(last) + b"\n\n"))
        return (*frames, DONE)


class Completions(Chat):
    """POST /v1/completions: the same errors and usage, `text` instead of messages."""

    def read(self, body: dict[str, Json]) -> Ask:
        prompt = body.get("prompt")
        if prompt is None:
            raise Refused(400, "Missing required parameter: 'prompt'.", param="prompt")
        as_chat = {**body, "messages": [{"role": "user", "content": _prompt_text(prompt)}], "logprobs": None}
        return msgspec.structs.replace(super().read(as_chat), prompt=_prompt_text(prompt), extra_input_tokens=0)

    def reply(self, ask: Ask, answers: list[Answer], cached_tokens: int, serial: int) -> Reply:
        chat = super().reply(ask, answers, cached_tokens, serial)
        envelope = {**self.envelope(ask, serial), "object": "text_completion"}
        envelope["id"] = envelope["id"].replace("chatcmpl", "cmpl")
        usage = self.usage(ask, answers, cached_tokens)

        def event(text: str, index: int, ending: dict[str, Json]) -> bytes:
            choice = {"text": text, "index": index, "logprobs": None, **ending}
            return b"data: " + msgspec.json.encode({**envelope, "choices": [choice]}) + b"\n\n"

        if not ask.stream:
            choices = [
                {"text": one.text, "index": index, "logprobs": None, **self.ending(one)}
                for index, one in enumerate(answers)
            ]
            whole = msgspec.json.encode({**envelope, "choices": choices, "usage": usage})
            return msgspec.structs.replace(chat, frames=(Frame("content", whole),))
        frames = [
            Frame("content", event(piece, index, {"finish_reason": None}))
            for index, one in enumerate(answers)
            for piece in one.pieces
        ]
        frames += [Frame("finish", event("", index, self.ending(one))) for index, one in enumerate(answers)]
        if ask.include_usage:
            last = msgspec.json.encode({**envelope, "choices": [], "usage": usage})
            frames.append(Frame("usage", b"data: " + last + b"\n\n"))
        return msgspec.structs.replace(chat, frames=(*frames, DONE))


def embeddings(body: dict[str, Json]) -> bytes:
    """Answers POST /v1/embeddings: unit vectors, the same for the same text; raises Refused."""
    model = _model(body)
    given = body.get("input")
    if given is None or given == []:
        raise Refused(400, "Missing required parameter: 'input'.", param="input")
    alone = isinstance(given, str) or (isinstance(given, list) and isinstance(given[0], int))
    inputs = [given] if alone else list(given)
    size = positive(body, "dimensions") or _EMBEDDING_SIZE
    packed = body.get("encoding_format") == "base64"
    data = []
    for index, one in enumerate(inputs):
        vector = _vector(f"{model}\0{one}", size)
        shown: Json = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode() if packed else vector
        data.append({"object": "embedding", "index": index, "embedding": shown})
    tokens = sum(len(one) if isinstance(one, list) else max(1, count(str(one))) for one in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode({"object": "list", "data": data, "model": model, "usage": usage})


def models(names: tuple[str, ...]) -> bytes:
    """Answers GET /v1/models."""
    data = [{"id": name, "object": "model", "created": 1767225600, "owned_by": "simulator"} for name in names]
    return msgspec.json.encode({"object": "list", "data": data})


def _vector(seed: str, size: int) -> list[float]:
    draw = Random(seed)
    raw = [draw.gauss(0.0, 1.0) for _ in range(size)]
    norm = math.sqrt(sum(x * x for x in raw))
    return [round(x / norm, 9) for x in raw]


def _model(body: dict[str, Json]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Refused(400, "you must provide a model parameter", param="model")
    return model


def _rendered(message: dict[str, Json]) -> str:
    calls = message.get("tool_calls")
    return f"<{message.get('role')}>{text_of(message.get('content'))}{_json(calls) if calls else ''}\n"


def _media(message: dict[str, Json]) -> int:
    content = message.get("content")
    if not isinstance(content, list):
        return 0
    return sum(isinstance(part, dict) and part.get("type") not in ("text", "refusal") for part in content)


def _offered(tool: dict[str, Json]) -> Offered:
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Refused(400, "Missing required parameter: 'tools[0].function.name'.", param="tools")
    return Offered(function["name"], function.get("parameters") or {"type": "object", "properties": {}})


def _tool_choice(choice: Json) -> tuple[str, str | None]:
    if isinstance(choice, dict):
        return "tool", (choice.get("function") or {}).get("name")
    return choice or "auto", None


def _schema(response_format: Json) -> Json | None:
    if not isinstance(response_format, dict):
        return None
    match response_format.get("type"):
        case "json_object":
            return {}
        case "json_schema":
            named = response_format.get("json_schema")
            if not isinstance(named, dict) or not isinstance(named.get("schema"), dict):
                raise Refused(
                    400, "Missing required parameter: 'response_format.json_schema'.", param="response_format"
                )
            return named["schema"]
    return None


def _prompt_text(prompt: Json) -> str:
    if isinstance(prompt, str):
        return prompt
    return "".join(one if isinstance(one, str) else str(one) for one in prompt) if isinstance(prompt, list) else ""


def _totals(ask: Ask, answers: list[Answer]) -> dict[str, int]:
    output = sum(one.output_tokens for one in answers)
    return {
        "prompt_tokens": ask.input_tokens,
        "completion_tokens": output,
        "total_tokens": ask.input_tokens + output,
    }


def _logprobs(ask: Ask, pieces: tuple[str, ...]) -> Json:
    if not ask.logprobs or not pieces:
        return None
    content = [{"token": p, "logprob": -0.01, "bytes": list(p.encode()), "top_logprobs": []} for p in pieces]
    return {"content": content, "refusal": None}


def _json(value: Json) -> str:
    return msgspec.json.encode(value).decode()
