"""Reads requests of Bedrock's Converse."""

from __future__ import annotations

import base64
from typing import Any

from tests.corpus.asking import Asked
from tests.corpus.reading import Called


def read(body: dict[str, Any]) -> Asked:
    asked = Asked()
    for block in body.get("system") or []:
        asked.say("system", block.get("text"))
    for message in body["messages"]:
        for block in message["content"]:
            _block(asked, message["role"], block)
    config = body.get("toolConfig") or {}
    for tool in config.get("tools") or []:
        if "toolSpec" in tool:
            asked.tools[tool["toolSpec"]["name"]] = tool["toolSpec"]["inputSchema"]["json"]
        elif "systemTool" in tool:
            asked.native.append(tool["systemTool"]["name"])
    more = body.get("additionalModelRequestFields") or {}
    inference = body.get("inferenceConfig") or {}
    for ours, name in (
        ("max_tokens", "maxTokens"),
        ("temperature", "temperature"),
        ("top_p", "topP"),
        ("stop", "stopSequences"),
    ):
        asked.set(ours, inference.get(name))
    for name in ("top_k", "seed", "frequency_penalty", "presence_penalty"):
        asked.set(name, more.get(name))
    if (more.get("inferenceConfig") or {}).get("topK") is not None:
        asked.set("top_k", more["inferenceConfig"]["topK"])
    choice = config.get("toolChoice") or {}
    if "any" in choice:
        asked.set("tool_choice", "required")
    elif "tool" in choice:
        asked.set("tool_choice", choice["tool"]["name"])
    if (more.get("tool_choice") or {}).get("disable_parallel_tool_use"):
        asked.set("parallel_tool_calls", False)
    if (body.get("outputConfig") or {}).get("textFormat") or (more.get("output_config") or {}).get("format"):
        asked.set("response_format", "json_schema")
    return asked


def _block(asked: Asked, role: str, block: dict[str, Any]) -> None:
    if "text" in block:
        asked.say(role, block["text"])
    elif "toolUse" in block:
        asked.calls.append(Called(block["toolUse"]["name"], block["toolUse"]["input"]))
    elif "toolResult" in block:
        said: list[Any] = []
        for part in block["toolResult"]["content"]:
            if "text" in part:
                said.append(part["text"])
            elif "json" in part:
                said.append(part["json"])
            elif _text(part):
                said.append(_text(part))
            else:
                _block(asked, "tool", part)
        asked.results.append("".join(said) if all(isinstance(each, str) for each in said) else said[0])
    elif "reasoningContent" in block:
        reasoning = block["reasoningContent"]
        thought = reasoning.get("reasoningText") or {}
        asked.thoughts.append(
            (thought.get("text") or "", thought.get("signature") or reasoning.get("redactedContent") or "")
        )
    elif _text(block):
        asked.say(role, _text(block))
    elif "cachePoint" not in block:
        for kind in ("image", "document", "video", "audio"):
            if kind in block:
                source = block[kind]["source"]
                asked.media.append(source.get("bytes") or (source.get("s3Location") or {}).get("uri") or "")
                asked.say(role, source.get("text"))


def _text(block: dict[str, Any]) -> str:
    """Returns the text of a document that is one."""
    document = block.get("document") or {}
    if document.get("format") != "txt" or "bytes" not in document["source"]:
        return ""
    return base64.b64decode(document["source"]["bytes"]).decode()
