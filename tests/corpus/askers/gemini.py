"""Reads requests of Gemini's generateContent."""

from __future__ import annotations

import base64
from typing import Any

from tests.corpus.asking import Asked
from tests.corpus.reading import Called


def read(body: dict[str, Any]) -> Asked:
    asked = Asked()
    for part in (body.get("systemInstruction") or {}).get("parts") or []:
        asked.say("system", part.get("text"))
    for content in body["contents"]:
        role = {"model": "assistant"}.get(content.get("role"), content.get("role"))
        for part in content["parts"]:
            _part(asked, role, part)
    for tool in body.get("tools") or []:
        for function in tool.get("functionDeclarations") or []:
            asked.tools[function["name"]] = function.get("parametersJsonSchema") or function.get("parameters")
        asked.native += [name for name in tool if name != "functionDeclarations"]
    config = body.get("generationConfig") or {}
    for ours, name in (
        ("max_tokens", "maxOutputTokens"),
        ("temperature", "temperature"),
        ("top_p", "topP"),
        ("top_k", "topK"),
        ("seed", "seed"),
        ("frequency_penalty", "frequencyPenalty"),
        ("presence_penalty", "presencePenalty"),
        ("stop", "stopSequences"),
    ):
        asked.set(ours, config.get(name))
    if config.get("responseJsonSchema") or config.get("responseSchema"):
        asked.set("response_format", "json_schema")
    elif config.get("responseMimeType") == "application/json":
        asked.set("response_format", "json_object")
    if (config.get("candidateCount") or 1) > 1:
        asked.set("n", config["candidateCount"])
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    names = calling.get("allowedFunctionNames") or []
    if calling.get("mode") == "ANY":
        asked.set("tool_choice", names[0] if len(names) == 1 else "required")
    elif calling.get("mode") == "NONE":
        asked.set("tool_choice", "none")
    return asked


def _part(asked: Asked, role: str, part: dict[str, Any]) -> None:
    signature = part.get("thoughtSignature") or ""
    if "functionCall" in part:
        asked.calls.append(Called(part["functionCall"]["name"], part["functionCall"].get("args") or {}))
    elif "functionResponse" in part:
        response = part["functionResponse"]
        inner = response.get("parts") or []
        texts = "".join(_text(each) for each in inner)
        asked.results.append(texts or response["response"])
        for each in inner:
            if not _text(each):
                _part(asked, "tool", each)
    elif "inlineData" in part:
        if _text(part):
            asked.say(role, _text(part))
        else:
            asked.media.append(part["inlineData"]["data"])
    elif "fileData" in part:
        asked.media.append(part["fileData"]["fileUri"])
    elif part.get("thought"):
        asked.thoughts.append((part.get("text") or "", signature))
    elif "text" in part:
        asked.say(role, part["text"])
    else:
        asked.opaque += [name for name in part if name not in ("thoughtSignature", "thought")]


def _text(part: dict[str, Any]) -> str:
    """Returns the text of a file that is one."""
    data = part.get("inlineData") or {}
    return base64.b64decode(data["data"]).decode() if data.get("mimeType") == "text/plain" else ""
