"""Reads requests of Cohere's chat, version 2."""

from __future__ import annotations

from typing import Any

from tests.corpus.asking import Asked, medium
from tests.corpus.reading import Called, arguments


def read(body: dict[str, Any]) -> Asked:
    asked = Asked()
    for message in body["messages"]:
        content = message.get("content")
        role = message["role"]
        if role == "tool":
            asked.results.append(_result(content))
            continue
        if message.get("tool_plan"):
            asked.thoughts.append((message["tool_plan"], ""))
        if isinstance(content, str):
            asked.say(role, content)
        for part in content if isinstance(content, list) else []:
            if part["type"] == "text":
                asked.say(role, part["text"])
            elif part["type"] == "thinking":
                asked.thoughts.append((part["thinking"], ""))
            elif part["type"] == "image_url":
                asked.media.append(medium(part["image_url"]["url"]))
        for call in message.get("tool_calls") or []:
            asked.calls.append(Called(call["function"]["name"], arguments(call["function"]["arguments"])))
    for tool in body.get("tools") or []:
        asked.tools[tool["function"]["name"]] = tool["function"].get("parameters")
    for ours, name in (
        ("max_tokens", "max_tokens"),
        ("temperature", "temperature"),
        ("top_p", "p"),
        ("top_k", "k"),
        ("seed", "seed"),
        ("frequency_penalty", "frequency_penalty"),
        ("presence_penalty", "presence_penalty"),
        ("stop", "stop_sequences"),
    ):
        asked.set(ours, body.get(name))
    choice = body.get("tool_choice")
    if choice == "REQUIRED" and len(asked.tools) == 1:
        asked.set("tool_choice", next(iter(asked.tools)))
    elif choice is not None:
        asked.set("tool_choice", choice.lower())
    form = body.get("response_format") or {}
    if form.get("type") == "json_object":
        asked.set("response_format", "json_schema" if form.get("json_schema") else "json_object")
    return asked


def _result(content: Any) -> Any:
    if isinstance(content, str):
        return content
    said = [part.get("text") or (part.get("document") or {}).get("data") or "" for part in content]
    return said[0] if len(said) == 1 else "".join(map(str, said))
