"""OpenAI's Responses, seen from its own side: answers as items, streams of numbered events, answers that are kept."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from typing import Final

import msgspec

from gateway.core.blocks import Json
from gateway.simulator.answers import Answer, Ask
from gateway.simulator.openai import Chat
from gateway.simulator.play import Frame, Part, Refused, Reply
from gateway.simulator.wire import members, positive, text_of

_KEPT: Final = 1000
_FORMS: Final = ("text", "json_object")


class ResponsesAsk(Ask, frozen=True):
    """A request that may be kept, and may go on from one that was."""

    store: bool = True
    previous: str | None = None


class Responses(Chat):
    """POST /v1/responses, and what stands below it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[dict[str, Json], str]] = OrderedDict()  # id -> the response, its prompt

    def read(self, body: dict[str, Json]) -> Ask:
        previous = body.get("previous_response_id")
        if previous is not None and previous not in self._kept:
            message = f"Previous response with id '{previous}' not found."
            raise Refused(400, message, code="previous_response_not_found", param="previous_response_id")
        asked = super().read(_as_chat(body))
        before = self._kept[previous][1] if previous is not None else ""
        facts = {name: getattr(asked, name) for name in Ask.__struct_fields__}
        facts["prompt"] = before + asked.prompt
        return ResponsesAsk(**facts, store=body.get("store") is not False, previous=previous)

    def reply(self, ask: Ask, answers: list[Answer], cached_tokens: int, serial: int) -> Reply:
        assert isinstance(ask, ResponsesAsk)
        one = answers[0]
        response = self._response(ask, one, cached_tokens)
        if ask.store:
            self._kept[response["id"]] = (response, f"{ask.prompt}{one.text}")
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        refused = Refused(500, "The server had an error.", code="server_error")
        error = msgspec.json.decode(self.failure(refused))["error"]
        return Reply(
            _frames(response, one) if ask.stream else (Frame("content", msgspec.json.encode(response)),),
            stream=ask.stream,
            headers=(("x-request-id", f"req_{serial:032x}"),),
            error_event=_event(0, "error", error=error),
            input_tokens=ask.input_tokens,
            cached_tokens=cached_tokens,
            output_tokens=one.output_tokens,
            finish=one.finish,
        )

    def kept(self, method: str, path: str) -> bytes:
        """Answers what stands below `/responses/`; raises Refused as the provider would."""
        name, _, action = path.rpartition("/responses/")[2].partition("/")
        held = self._kept.get(name)
        if held is None:
            raise Refused(404, f"Response with id '{name}' not found.")
        response, prompt = held
        match method, action:
            case "GET", "":
                return msgspec.json.encode(response)
            case "GET", "input_items":
                content = [{"type": "input_text", "text": prompt}]
                item = {"id": f"msg_{name}", "type": "message", "role": "user", "content": content}
                page = {"object": "list", "data": [item], "first_id": item["id"], "last_id": item["id"]}
                return msgspec.json.encode({**page, "has_more": False})
            case "DELETE", "":
                del self._kept[name]
                return msgspec.json.encode({"id": name, "object": "response", "deleted": True})
            case "POST", "cancel":
                raise Refused(400, "Cannot cancel a synchronous response.")
        raise Refused(404, f"Invalid URL ({method} {path})")

    def _response(self, ask: ResponsesAsk, one: Answer, cached_tokens: int) -> dict[str, Json]:
        base = secrets.token_hex(24)  # an id that is kept must be nobody else's, of no other simulator either
        reasoning = len(one.thinking)
        return {
            "id": f"resp_{base}",
            "object": "response",
            "created_at": int(time.time()),
            "status": "incomplete" if one.finish == "length" else "completed",
            "background": False,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if one.finish == "length" else None,
            "instructions": None,
            "max_output_tokens": ask.max_tokens,
            "model": ask.model,
            "output": _items(one, base),
            "parallel_tool_calls": ask.parallel,
            "previous_response_id": ask.previous,
            "reasoning": {"effort": None, "summary": None},
            "service_tier": "default",
            "store": ask.store,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": {
                "input_tokens": ask.input_tokens,
                "input_tokens_details": {"cached_tokens": cached_tokens, "cache_write_tokens": 0},
                "output_tokens": one.output_tokens,
                "output_tokens_details": {"reasoning_tokens": reasoning},
                "total_tokens": ask.input_tokens + one.output_tokens,
            },
            "metadata": {},
        }


def _items(one: Answer, base: str) -> list[dict[str, Json]]:
    items: list[dict[str, Json]] = []
    if one.thinking:
        items.append({"id": f"rs_{base}", "type": "reasoning", "summary": [], "status": "completed"})
    if one.pieces:
        part = {"type": "output_text", "text": one.text, "annotations": [], "logprobs": []}
        message = {"id": f"msg_{base}", "type": "message", "role": "assistant", "status": "completed"}
        items.append({**message, "content": [part]})
    for call in one.calls:
        written = {"call_id": f"call_{call.key}", "name": call.name, "arguments": "".join(call.pieces)}
        items.append({"id": f"fc_{call.key}", "type": "function_call", "status": "completed", **written})
    return items


def _frames(response: dict[str, Json], one: Answer) -> tuple[Frame, ...]:
    frames: list[Frame] = []

    def say(part: Part, kind: str, /, **fields: Json) -> None:
        frames.append(Frame(part, _event(len(frames), kind, **fields)))

    begun = {**response, "status": "in_progress", "output": [], "incomplete_details": None}
    del begun["usage"]
    say("head", "response.created", response=begun)
    say("head", "response.in_progress", response=begun)
    calls = iter(one.calls)
    for place, item in enumerate(response["output"]):
        at: dict[str, Json] = {"item_id": item["id"], "output_index": place}
        if item["type"] == "message":
            where = {**at, "content_index": 0}
            whole = item["content"][0]
            say(
                "head",
                "response.output_item.added",
                output_index=place,
                item={**item, "status": "in_progress", "content": []},
            )
            say("head", "response.content_part.added", **where, part={**whole, "text": ""})
            for piece in one.pieces:
                say("content", "response.output_text.delta", **where, delta=piece, logprobs=[])
            say("head", "response.output_text.done", **where, text=one.text, logprobs=[])
            say("head", "response.content_part.done", **where, part=whole)
        elif item["type"] == "function_call":
            say(
                "head",
                "response.output_item.added",
                output_index=place,
                item={**item, "status": "in_progress", "arguments": ""},
            )
            for piece in next(calls).pieces:
                say("content", "response.function_call_arguments.delta", **at, delta=piece)
            written = {"name": item["name"], "arguments": item["arguments"]}
            say("head", "response.function_call_arguments.done", **at, **written)
        else:
            say("head", "response.output_item.added", output_index=place, item=item)
        say("head", "response.output_item.done", output_index=place, item=item)
    say("finish", f"response.{response['status']}", response=response)
    return tuple(frames)


def _event(number: int, kind: str, **fields: Json) -> bytes:
    data = msgspec.json.encode({"type": kind, "sequence_number": number, **fields})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def _as_chat(body: dict[str, Json]) -> dict[str, Json]:
    """Writes a request as chat's: what is asked is the same."""
    given = body.get("input")
    if given is None or given == []:
        raise Refused(400, "Missing required parameter: 'input'.", param="input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else members(body, "input")
    messages = [_message(item) for item in items]
    if body.get("instructions"):
        messages.insert(0, {"role": "system", "content": body["instructions"]})
    form = (body.get("text") or {}).get("format") or {}
    choice = body.get("tool_choice")
    return {
        "model": body.get("model"),
        "messages": messages,
        "stream": body.get("stream"),
        "max_tokens": positive(body, "max_output_tokens"),
        "tools": [{"type": "function", "function": each} for each in members(body, "tools") if "name" in each],
        "tool_choice": {"function": choice} if isinstance(choice, dict) else choice,
        "parallel_tool_calls": body.get("parallel_tool_calls"),
        "reasoning_effort": (body.get("reasoning") or {}).get("effort"),
        "response_format": None
        if not form
        else ({"type": form["type"]} if form.get("type") in _FORMS else {"type": "json_schema", "json_schema": form}),
    }


def _message(item: dict[str, Json]) -> dict[str, Json]:
    if item.get("type") == "function_call_output":
        return {"role": "tool", "content": text_of(item.get("output"))}
    if item.get("type", "message") == "message":
        return {"role": item.get("role"), "content": item.get("content")}
    return {"role": "assistant", "content": msgspec.json.encode(item).decode()}
