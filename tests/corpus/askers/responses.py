"""Reads requests of OpenAI's Responses."""

from __future__ import annotations

from typing import Any

from tests.corpus.asking import Asked, medium
from tests.corpus.reading import Called, arguments


def read(body: dict[str, Any]) -> Asked:
    asked = Asked()
    asked.say("system", body.get("instructions"))
    given = body.get("input")
    if isinstance(given, str):
        asked.say("user", given)
    for item in given if isinstance(given, list) else []:
        _item(asked, item)
    for tool in body.get("tools") or []:
        if tool["type"] == "function":
            asked.tools[tool["name"]] = tool.get("parameters")
        elif tool["type"] == "custom":
            asked.tools[tool["name"]] = None
        else:
            asked.native.append(tool["type"])
    asked.set("max_tokens", body.get("max_output_tokens"))
    for name in ("temperature", "top_p"):
        asked.set(name, body.get(name))
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        choice = choice.get("name") or choice.get("mode") or choice.get("type")
    asked.set("tool_choice", None if choice == "auto" else choice)
    if body.get("tools") and body.get("parallel_tool_calls") is False:
        asked.set("parallel_tool_calls", False)
    form = ((body.get("text") or {}).get("format") or {}).get("type")
    asked.set("response_format", form if form in ("json_schema", "json_object") else None)
    return asked


def _item(asked: Asked, item: dict[str, Any]) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        role = {"developer": "system"}.get(item["role"], item["role"])
        content = item["content"]
        if isinstance(content, str):
            asked.say(role, content)
        for part in content if isinstance(content, list) else []:
            _part(asked, role, part)
    elif kind == "function_call":
        asked.calls.append(Called(item["name"], arguments(item["arguments"])))
    elif kind == "custom_tool_call":
        asked.calls.append(Called(item["name"], item["input"]))
    elif kind in ("function_call_output", "custom_tool_call_output"):
        output = item["output"]
        if isinstance(output, list):
            for part in output:
                if part["type"] != "input_text":
                    _part(asked, "tool", part)
            output = "".join(part["text"] for part in output if part["type"] == "input_text")
        asked.results.append(output)
    elif kind == "reasoning":
        parts = item.get("content") or item.get("summary") or []
        asked.thoughts.append(("".join(part["text"] for part in parts), item.get("encrypted_content") or ""))
    else:
        asked.opaque.append(kind)


def _part(asked: Asked, role: str, part: dict[str, Any]) -> None:
    kind = part["type"]
    if kind in ("input_text", "output_text", "text", "refusal"):
        asked.say(role, part.get("text") or part.get("refusal"))
    elif kind == "input_image":
        asked.media.append(medium(part.get("image_url") or part.get("file_id") or ""))
    elif kind == "input_file":
        asked.media.append(medium(part.get("file_data") or part.get("file_url") or part.get("file_id") or ""))
    elif kind == "input_audio":
        asked.media.append(part["input_audio"]["data"])
    else:
        asked.opaque.append(kind)
