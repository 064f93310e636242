"""Reads requests of Anthropic's Messages."""

from __future__ import annotations

from typing import Any

from tests.corpus.asking import Asked
from tests.corpus.reading import Called


def read(body: dict[str, Any]) -> Asked:
    asked = Asked()
    system = body.get("system")
    for block in [{"type": "text", "text": system}] if isinstance(system, str) else system or []:
        asked.say("system", block["text"])
    for message in body["messages"]:
        content = message["content"]
        if isinstance(content, str):
            asked.say(message["role"], content)
        for block in content if isinstance(content, list) else []:
            _block(asked, message["role"], block)
    for tool in body.get("tools") or []:
        if "input_schema" in tool:
            asked.tools[tool["name"]] = tool["input_schema"]
        else:
            asked.native.append(tool["type"])
    asked.set("max_tokens", body.get("max_tokens"))
    for name in ("temperature", "top_p", "top_k"):
        asked.set(name, body.get(name))
    asked.set("stop", body.get("stop_sequences"))
    choice = body.get("tool_choice") or {}
    kind = choice.get("type")
    asked.set("tool_choice", {"any": "required", "tool": choice.get("name"), "none": "none"}.get(kind))
    if choice.get("disable_parallel_tool_use"):
        asked.set("parallel_tool_calls", False)
    if body.get("output_format") or (body.get("output_config") or {}).get("format"):
        asked.set("response_format", "json_schema")
    return asked


def _block(asked: Asked, role: str, block: dict[str, Any]) -> None:
    kind = block["type"]
    if kind == "text":
        asked.say(role, block["text"])
    elif kind in ("image", "document"):
        source = block["source"]
        if source["type"] in ("text", "content"):
            asked.say(role, source["data"] if source["type"] == "text" else str(source["content"]))
        else:
            asked.media.append(source.get("data") or source.get("url") or source.get("file_id") or "")
    elif kind == "thinking":
        asked.thoughts.append((block["thinking"], block.get("signature") or ""))
    elif kind == "redacted_thinking":
        asked.thoughts.append(("", block["data"]))
    elif kind == "tool_use":
        asked.calls.append(Called(block["name"], block["input"]))
    elif kind == "tool_result":
        content = block.get("content")
        if isinstance(content, list):
            said = [part.get("text") or _text(part) for part in content]
            for part, text in zip(content, said, strict=True):
                if not text:
                    _block(asked, "tool", part)
            content = "".join(said)
        asked.results.append(content or "")
    else:
        asked.opaque.append(kind)


def _text(block: dict[str, Any]) -> str:
    """Returns the text of a document that is one."""
    source = block.get("source") or {}
    return source["data"] if isinstance(source, dict) and source.get("type") == "text" else ""
