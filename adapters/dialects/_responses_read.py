"""Reads a Responses request into blocks; what cannot be read is refused with the field's name.

Source: https://platform.openai.com/docs/api-reference/responses/create (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE
from adapters.dialects._chat_fields import boolean, integer, number, object_of, string, wrong
from adapters.dialects._responses_items import messages
from adapters.dialects._responses_tools import response_format, tool_choice, tools
from gateway.core.blocks import Conversation, Json
from gateway.core.errors import BadRequest
from gateway.core.types import Call

_decode: Final = msgspec.json.Decoder().decode

LOGPROBS: Final = "message.output_text.logprobs"
_ENCRYPTED: Final = "reasoning.encrypted_content"  # always given where a provider signs its reasoning

# Ids that stand for content at OpenAI, and what it alone does: without them it would be another question.
_OPENAIS: Final[Mapping[str, str]] = {
    "previous_response_id": "this deployment's provider keeps no responses: send the items of the conversation in "
    "`input`, reasoning items included, and `store: false`",
    "conversation": "this deployment's provider keeps no conversations: send their items in `input`",
    "prompt": "this deployment's provider knows no stored prompts: send their text in `instructions` or `input`",
    "background": "this deployment's provider answers while its caller waits, or not at all",
    "moderation": "this deployment's provider has no moderation of its own to ask for",
}

_NAMED: Final = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "max_output_tokens",
        "temperature",
        "top_p",
        "top_k",
        "top_logprobs",
        "text",
        "reasoning",
        "thinking",
        "include",
        "user",
        "metadata",
        "service_tier",
        "store",
        "truncation",
        "context_management",
    }
    | _OPENAIS.keys()
)


def conversation(call: Call) -> Conversation:
    """Returns the request in blocks; raises BadRequest whose `param` is the field's path (`input.2.content.0`)."""
    body = read(call)
    for name, why in _OPENAIS.items():
        if body.get(name) not in (None, False):
            raise BadRequest(f"{name}: {why}", param=name)
    text = object_of(body, "text")
    reasoning = object_of(body, "reasoning") or {}
    include = _include(body.get("include"))
    top_logprobs = integer(body, "top_logprobs")
    return Conversation(
        messages=messages(string(body, "instructions"), body.get("input")),
        tools=tools(body),
        tool_choice=tool_choice(body),
        parallel_tool_calls=boolean(body, "parallel_tool_calls"),
        max_tokens=integer(body, "max_output_tokens"),
        temperature=number(body, "temperature", 0.0, 2.0),
        top_p=number(body, "top_p", 0.0, 1.0),
        top_k=integer(body, "top_k"),
        logprobs=bool(top_logprobs) or LOGPROBS in include,
        top_logprobs=top_logprobs or None,
        response_format=response_format(text),
        reasoning_effort=string(reasoning, "effort", "reasoning"),
        thinking=object_of(body, "thinking"),
        user=string(body, "user"),
        metadata=object_of(body, "metadata") or None,
        service_tier=string(body, "service_tier"),
        extra=_extra(
            body, text or {}, reasoning, include, kept=call.keeping is not None and call.keeping.max_bytes > 0
        ),
    )


def read(call: Call) -> dict[str, Json]:
    """Returns the body, decoded."""
    try:
        body = _decode(call.body)
    except UNREADABLE:
        raise BadRequest("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def _include(value: Json) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise wrong("include", "a list of strings")
    return value


def _extra(
    body: Mapping[str, Json], text: Mapping[str, Json], reasoning: Mapping[str, Json], include: list[str], kept: bool
) -> dict[str, Json]:
    """Returns what has no name among the blocks, by the name that chat has for it where it has one."""
    extra = {name: value for name, value in body.items() if name not in _NAMED and value is not None}
    if (
        body.get("store") is True and not kept
    ):  # asked for, and not what happens: where nothing was said, nothing is missed
        extra["store"] = True
    if text.get("verbosity") is not None:
        extra["verbosity"] = text["verbosity"]
    summary = reasoning.get("summary") or reasoning.get("generate_summary")
    if summary is not None:
        extra["reasoning_effort.summary"] = summary
    for name in ("mode", "context"):
        if reasoning.get(name) is not None:
            extra[f"reasoning.{name}"] = reasoning[name]
    if body.get("truncation") not in (None, "disabled"):
        extra["truncation"] = body["truncation"]
    if body.get("context_management") is not None:
        # Anthropic has a field of this name and another shape.
        ours = isinstance(body["context_management"], list)
        extra["context_management.compaction" if ours else "context_management"] = body["context_management"]
    wanted = [each for each in include if each not in (LOGPROBS, _ENCRYPTED)]
    if wanted:
        extra["include"] = wanted
    return extra
