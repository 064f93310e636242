"""The Response object that a translated answer stands in: ids, what was asked, status, usage, errors.

Source: https://platform.openai.com/docs/api-reference/responses/object (2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from adapters.dialects._responses_read import read
from gateway.core.blocks import Begin, Finished, Json
from gateway.core.errors import CallError
from gateway.core.money import Usage
from gateway.core.types import Call

_encode: Final = msgspec.json.Encoder().encode

# Ids of what is written here hold this after their kind: no provider keeps what they name, at most the gateway.
MARK: Final = "_headgate_"
_CALL: Final = "req_"

# What OpenAI's schema allows for `service_tier`; Anthropic's "standard" is its "default".
_TIERS: Final = {tier: tier for tier in ("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")} | {
    "standard": "default"
}
_ECHOED: Final = ("max_output_tokens", "max_tool_calls", "temperature", "top_p")
_ECHOED_IF_GIVEN: Final = ("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention")


def minted(kind: str, call_id: str, number: int | None = None) -> str:
    """Returns the id of an answer (`resp`) or one of its items: the same for the same call, and of no other."""
    place = "" if number is None else f"{number:04x}"
    return f"{kind}{MARK}{call_id.removeprefix(_CALL)}{place}"


def is_minted(name: str) -> bool:
    """Says whether an id was made here rather than by a provider."""
    return MARK in name


def usage_object(usage: Usage) -> dict[str, Json]:
    """Writes usage as OpenAI counts it: cached tokens inside the input's, reasoning inside the output's.

    The details are integers that OpenAI's schema demands: 0 also where a provider tells none of them.
    """
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input,
            "cache_write_tokens": usage.cache_write_5m + usage.cache_write_1h,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


class Envelope:
    """One answer's Response object, in each of its states."""

    __slots__ = ("_call", "_echo", "_head", "summarised")

    def __init__(self, call: Call, model: str) -> None:
        body = read(call)
        reasoning = body.get("reasoning") or {}
        self.summarised = (reasoning.get("summary") or reasoning.get("generate_summary")) is not None
        self._call = call
        self._echo = _echo(body)
        self._head = {
            "id": minted("resp", call.id),
            "object": "response",
            "created_at": call.received_at,
            "model": model,
        }

    def begin(self, event: Begin) -> None:
        """Takes over what the provider names; its own id is none that anybody could ask for."""
        self._head["created_at"] = event.created or self._call.received_at
        self._head["model"] = event.model or self._head["model"]

    def response(
        self, output: list[Json], finished: Finished | None = None, usage: Usage | None = None, refused: bool = False
    ) -> dict[str, Json]:
        """Returns the object: in progress, or as the answer `finished`; `refused` is an answer that says so itself.

        `store` says that it will be kept; whether it is not too large for that shows when it is whole (`left`).
        """
        keeping = self._call.keeping
        response: dict[str, Json] = {
            **self._head,
            "status": "in_progress",
            "background": False,
            "error": None,
            "incomplete_details": None,
            "output": output,
            "previous_response_id": keeping.previous if keeping is not None else None,
            "store": keeping is not None and keeping.max_bytes > 0,
            **self._echo,
        }
        if finished is None:
            return response
        reason = reason_of(finished, refused)
        response["status"] = "completed" if reason is None else "incomplete"
        response["incomplete_details"] = reason
        for name in ("native", "stop_sequence"):
            if (said := getattr(finished, name)) is not None:
                response["native_finish_reason" if name == "native" else name] = said
        if usage is not None:
            response["usage"] = usage_object(usage)
            if (tier := _TIERS.get(usage.service_tier or "")) is not None:
                response["service_tier"] = tier
        return response

    def left(self, response: dict[str, Json]) -> bytes:
        """Writes a whole answer, and leaves it to be kept where it may be; a larger one says that it is not."""
        written = _encode(response)
        keeping = self._call.keeping
        if keeping is not None and keeping.max_bytes:
            if len(self._call.body) + len(written) <= keeping.max_bytes:
                keeping.answer = written
            else:
                keeping.answer = None
                written = _encode({**response, "store": False})
        return written


def reason_of(finished: Finished, refused: bool) -> dict[str, str] | None:
    """Returns `incomplete_details`, or None for an answer that is complete.

    A refusal in words is a complete answer to OpenAI. A finish that is no word of ours is no proof of an end: the
    answer is incomplete, for a reason that the schema has no name for.
    """
    if finished.finish in ("stop", "tool_calls") or (refused and finished.finish == "content_filter"):
        return None
    if finished.finish == "length":
        return {"reason": "max_output_tokens"}
    return {"reason": "content_filter"} if finished.finish == "content_filter" else {}


_NUMBER: Final = re.compile(rb'"sequence_number": ?(\d+)')


def error_event(error: CallError, after: bytes = b"") -> bytes:
    """Writes an error as a stream's last event, numbered as the next after the last one that `after` holds.

    OpenAI's schema has its words in the event itself, its SDKs raise on a member `error`: both are there.
    """
    numbers = _NUMBER.findall(after)  # within a text the quotes would be escaped
    told = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    event = {
        "type": "error",
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "sequence_number": int(numbers[-1]) + 1 if numbers else 0,
        "error": told,
    }
    return b"event: error\ndata: " + _encode(event) + b"\n\n"


def _echo(body: Mapping[str, Json]) -> dict[str, Json]:
    """Returns what the object repeats of the request."""
    text = body.get("text") or {}
    reasoning = body.get("reasoning") or {}
    parallel = body.get("parallel_tool_calls")
    echo: dict[str, Json] = {name: body.get(name) for name in _ECHOED}
    echo |= {
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata") or {},
        "parallel_tool_calls": True if parallel is None else parallel,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "text": {**_given(text), "format": _given(text.get("format") or {"type": "text"})},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": [_tool(tool) for tool in body.get("tools") or ()],
        "top_logprobs": body.get("top_logprobs") or 0,
        "truncation": body.get("truncation") or "disabled",
    }
    echo |= {name: body[name] for name in _ECHOED_IF_GIVEN if body.get(name) is not None}
    return echo


def _given(holder: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in holder.items() if value is not None}


def _tool(tool: Mapping[str, Json]) -> dict[str, Json]:
    if tool.get("type") == "function":
        return {"strict": None, "parameters": None, **tool}
    return _given(tool)
