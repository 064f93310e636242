"""Anthropic's SDK, as its users write it."""

from __future__ import annotations

from typing import Any

from anthropic import Anthropic, AnthropicError, AsyncAnthropic
from anthropic.types import Message
from line import Ask, Flow, Told, ours, serve

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {
    "name": "get_weather",
    "description": "Tells the weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


def settings(ask: Ask) -> dict[str, Any]:
    return {
        "base_url": ask.url.removesuffix("/v1"),
        "api_key": ask.key,
        "max_retries": ask.retries,
        "default_headers": ask.headers,
    }


def asked(ask: Ask, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": ask.text}]
    return {"model": ask.model, "max_tokens": 200, "messages": messages, **ask.more, **more}


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def told(message: Message, headers: Any) -> Told:
    return {
        "text": text_of(message),
        "finish": message.stop_reason,
        "usage": [message.usage.input_tokens, message.usage.output_tokens],
        "headers": ours(headers),
    }


def chat(ask: Ask) -> Told:
    with Anthropic(**settings(ask)) as client:
        raw = client.messages.with_raw_response.create(**asked(ask))
        return told(raw.parse(), raw.headers)


async def stream(ask: Ask) -> Told:
    pieces = 0
    async with AsyncAnthropic(**settings(ask)) as client, client.messages.stream(**asked(ask)) as stream:
        async for _ in stream.text_stream:
            pieces += 1
        return {**told(await stream.get_final_message(), stream.response.headers), "pieces": pieces}


async def tools(ask: Ask) -> Told:
    messages: list[Any] = [{"role": "user", "content": ask.text}]
    async with AsyncAnthropic(**settings(ask)) as client:
        first = await client.messages.create(**asked(ask, messages=messages, tools=[WEATHER]))
        calls = [block for block in first.content if block.type == "tool_use"]
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": f"21 degrees in {call.input['city']}"}
            for call in calls
        ]
        messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
        async with client.messages.stream(**asked(ask, messages=messages, tools=[WEATHER])) as stream:
            last = await stream.get_final_message()
    return {
        "text": text_of(last),
        "called": [call.input for call in calls],
        "finishes": [first.stop_reason, last.stop_reason],
    }


async def structured(ask: Ask) -> Told:
    async with AsyncAnthropic(**settings(ask)) as client:
        made = await client.messages.parse(**asked(ask), output_format=Flow)
    assert made.parsed_output is not None
    return {"structured": made.parsed_output.model_dump()}


def image(ask: Ask) -> Told:
    content = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "text", "text": "What is this?"},
    ]
    with Anthropic(**settings(ask)) as client:
        raw = client.messages.with_raw_response.create(**asked(ask, messages=[{"role": "user", "content": content}]))
        return told(raw.parse(), raw.headers)


serve(
    {"chat": chat, "stream": stream, "tools": tools, "structured": structured, "image": image},
    (AnthropicError,),
)
