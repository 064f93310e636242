"""Reads requests of OpenAI's chat completions."""

from __future__ import annotations

from typing import Any

from tests.corpus.asking import Asked, medium
from tests.corpus.reading import Called, arguments


def read(body: dict[str, Any]) -> Asked:
    asked = Asked()
    for message in body.get("messages") or []:
        role = {"developer": "system"}.get(message["role"], message["role"])
        content = message.get("content")
        if role in ("tool", "function"):
            asked.results.append(_result(asked, content))
            continue
        for block in message.get("thinking_blocks") or []:
            asked.thoughts.append((block.get("thinking") or "", block.get("signature") or block.get("data") or ""))
        if not message.get("thinking_blocks") and (message.get("reasoning_content") or message.get("reasoning")):
            asked.thoughts.append((message.get("reasoning_content") or message["reasoning"], ""))
        if isinstance(content, str):
            asked.say(role, content)
        for part in content if isinstance(content, list) else []:
            _part(asked, role, part)
        asked.say(role, message.get("refusal"))
        for call in message.get("tool_calls") or []:
            if call.get("type") == "custom":
                asked.calls.append(Called(call["custom"]["name"], call["custom"]["input"]))
            else:
                asked.calls.append(Called(call["function"]["name"], arguments(call["function"].get("arguments"))))
        if message.get("function_call"):
            function = message["function_call"]
            asked.calls.append(Called(function["name"], arguments(function["arguments"])))
    for tool in body.get("tools") or []:
        if tool.get("type", "function") == "function":
            asked.tools[tool["function"]["name"]] = tool["function"].get("parameters")
        elif tool["type"] == "custom":
            asked.tools[tool["custom"]["name"]] = None
        else:
            asked.native.append(tool["type"])
    for function in body.get("functions") or []:
        asked.tools[function["name"]] = function.get("parameters")
    _settings(asked, body)
    return asked


def _part(asked: Asked, role: str, part: Any) -> None:
    if isinstance(part, str):
        asked.say(role, part)
        return
    kind = part.get("type")
    if kind in ("text", "refusal"):
        asked.say(role, part.get("text") or part.get("refusal"))
    elif kind == "image_url":
        image = part["image_url"]
        asked.media.append(medium(image if isinstance(image, str) else image["url"]))
    elif kind == "input_audio":
        asked.media.append(medium(part["input_audio"]["data"]))
    elif kind == "file":
        file = part.get("file") or part  # Mistral's stands in the part itself
        asked.media.append(medium(file.get("file_data") or file.get("file_id") or ""))
    elif kind == "thinking":
        thinking = part["thinking"]
        text = thinking if isinstance(thinking, str) else "".join(each.get("text", "") for each in thinking)
        asked.thoughts.append((text, part.get("signature") or ""))
    elif kind in ("video_url", "document_url"):
        url = part[kind]
        asked.media.append(medium(url if isinstance(url, str) else url["url"]))
    else:
        asked.opaque.append(str(kind))


def _result(asked: Asked, content: Any) -> Any:
    if isinstance(content, str) or content is None:
        return content or ""
    said = []
    for part in content:
        if isinstance(part, dict) and part.get("type") == "text":
            said.append(part["text"])
        else:
            _part(asked, "tool", part)
    return "".join(said)


def _settings(asked: Asked, body: dict[str, Any]) -> None:
    asked.set("max_tokens", body.get("max_completion_tokens") or body.get("max_tokens"))
    for name in ("temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "logit_bias"):
        asked.set(name, body.get(name))
    asked.set("seed", body.get("random_seed", body.get("seed")))
    stop = body.get("stop")
    asked.set("stop", [stop] if isinstance(stop, str) else stop)
    choice = body.get("tool_choice", body.get("function_call"))
    if isinstance(choice, dict):
        called = choice.get("function") or choice.get("custom") or choice
        choice = called.get("name") if "name" in called else None
    asked.set("tool_choice", {"any": "required", "auto": None}.get(choice, choice) if choice is not None else None)
    if body.get("tools") and body.get("parallel_tool_calls") is False:
        asked.set("parallel_tool_calls", False)
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        asked.set("response_format", "json_schema")
    elif form.get("type") == "json_object":
        asked.set("response_format", "json_object")
    if (body.get("n") or 1) > 1:
        asked.set("n", body["n"])
