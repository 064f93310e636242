"""Reads requests of Ollama's own chat."""

from __future__ import annotations

from typing import Any

from tests.corpus.asking import Asked
from tests.corpus.reading import Called


def read(body: dict[str, Any]) -> Asked:
    asked = Asked()
    for message in body["messages"]:
        asked.media += message.get("images") or []
        if message["role"] == "tool":
            asked.results.append(message["content"])
            continue
        asked.say(message["role"], message.get("content"))
        if message.get("thinking"):
            asked.thoughts.append((message["thinking"], ""))
        for call in message.get("tool_calls") or []:
            asked.calls.append(Called(call["function"]["name"], call["function"]["arguments"]))
    for tool in body.get("tools") or []:
        asked.tools[tool["function"]["name"]] = tool["function"].get("parameters")
    options = body.get("options") or {}
    asked.set("max_tokens", options.get("num_predict"))
    for name in ("temperature", "top_p", "top_k", "seed", "stop", "frequency_penalty", "presence_penalty"):
        asked.set(name, options.get(name))
    if isinstance(body.get("format"), dict):
        asked.set("response_format", "json_schema")
    elif body.get("format") == "json":
        asked.set("response_format", "json_object")
    return asked
