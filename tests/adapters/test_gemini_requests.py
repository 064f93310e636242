"""Every request that the corpus holds: Gemini's own, read and written again; others', as Google's types take them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from adapters._gemini_model import model_of
from gateway.core.blocks import (
    Audio,
    Block,
    Conversation,
    Document,
    Image,
    Message,
    Opaque,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from gateway.core.errors import BadRequest
from tests.adapters.anthropic_wire import SHARED, corpus
from tests.adapters.gemini_rules import accepted, typed
from tests.adapters.gemini_wire import CHAT, GEMINI, a_deployment, told

CORPUS = SHARED / "corpus" / "dev"
RECORDS = [
    record
    for record in corpus("gemini.generate", "gemini.generate.stream", "vertex.generate", "vertex.generate.stream")
    if record.values[0] is None or "contents" in (record.values[0]["request"].get("body") or {})
]


def camel(value: Any) -> Any:
    """Spells the fields of a request as the API's documents do; what a caller's schema or tool names stays."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for name, inner in value.items():
        head, *rest = name.split("_")
        spelled = head + "".join(word.title() for word in rest)
        kept = spelled in ("args", "response", "parameters", "parametersJsonSchema", "responseJsonSchema")
        out[spelled] = inner if kept else camel(inner)
    return out


def read(body: dict[str, Any], provider: str) -> Conversation:
    """Reads Google's contents into blocks, with nothing of ours."""
    messages = []
    called: list[tuple[str, str]] = []
    for turn, content in enumerate(camel(body["contents"])):
        blocks: list[Block] = []
        for place, part in enumerate(content["parts"]):
            blocks.append(block(part, f"{turn}.{place}", called, provider))
        messages.append(Message("assistant" if content["role"] == "model" else "user", tuple(blocks)))
    names = {each.name for message in messages for each in message.content if isinstance(each, ToolCall)}
    return Conversation(tuple(messages), tools=tuple(Tool(name) for name in sorted(names)))


def block(part: dict[str, Any], place: str, called: list[tuple[str, str]], provider: str) -> Block:
    signature = part.get("thoughtSignature")
    owner = provider if signature else None
    if "functionCall" in part:
        call = part["functionCall"]
        called.append((call.get("id") or place, call["name"]))
        return ToolCall(called[-1][0], call["name"], json.dumps(call.get("args", {})), signature, provider=owner)
    if "functionResponse" in part:
        response = part["functionResponse"]
        number = next(at for at, (_, name) in enumerate(called) if name == response["name"])
        inner: list[Any] = [Text(json.dumps(response["response"]))]
        inner += [
            Image(media_type=each["inlineData"]["mimeType"], data=standard(each["inlineData"]["data"]))
            for each in response.get("parts", [])
            if "inlineData" in each
        ]
        return ToolResult(called.pop(number)[0], tuple(inner))
    if "inlineData" in part:
        kind, data = part["inlineData"]["mimeType"], standard(part["inlineData"]["data"])
        if kind.startswith("image/"):
            return Image(media_type=kind, data=data)
        return Audio(data, kind[6:]) if kind.startswith("audio/") else Document(data=data, media_type=kind)
    if "fileData" in part:
        return Document(url=part["fileData"]["fileUri"], media_type=part["fileData"].get("mimeType"))
    if "text" in part:
        if part.get("thought"):
            return Thinking(part["text"], signature, provider)
        return Text(part["text"], signature=signature, provider=owner)
    return Opaque(provider, part)


def standard(data: str) -> str:
    """Spells base64 in the standard alphabet: some clients send the URL's."""
    padded = data.translate(str.maketrans("+/", "-_")) + "=" * (-len(data) % 4)
    return base64.b64encode(base64.urlsafe_b64decode(padded)).decode()


def plain(contents: list[Any], with_ids: bool) -> list[Any]:
    """Returns what contents say, whatever was merged: (side, part) one after the other, media by their kind."""
    out = []
    for content in camel(contents):
        for part in content["parts"]:
            kept = {name: value for name, value in part.items() if name not in ("videoMetadata", "mediaResolution")}
            for name in ("functionCall", "functionResponse"):
                if name in kept:
                    called = {key: value for key, value in kept[name].items() if key != "id" or with_ids}
                    called.pop("parts", None)
                    if name == "functionCall":
                        called.setdefault("args", {})
                    kept[name] = called
            for name in ("inlineData", "fileData"):
                if name in kept:
                    kept = {name: None}
            if kept not in ({"text": ""}, {"text": " "}):
                out.append((content["role"], kept))
    return out


@pytest.mark.parametrize("record", RECORDS)
def test_a_recorded_history_goes_back_part_by_part_with_its_signatures(record: Any) -> None:
    vertex = record["provider"] == "vertex"
    provider = "vertex" if vertex else "gemini"
    body = json.loads(json.dumps(record["request"]["body"]).replace("-REDACTED", "AAAA"))  # a mask is no base64
    model = record["model"].removeprefix("models/")
    written = told(read(body, provider), model, vertex)
    with_ids = "'id'" in str(body["contents"])
    dummies = "skip_thought_signature_validator"
    found = plain(written["contents"], with_ids)
    for _, part in found:
        if part.get("thoughtSignature") == dummies:
            del part["thoughtSignature"]
    assert found == plain(body["contents"], with_ids)
    accepted(written, model_of(a_deployment(model)).signs_calls)


def chat_requests() -> list[Any]:
    """Returns every recorded request of the chat dialect, whoever it was for."""
    if not CORPUS.is_dir():
        return [pytest.param(None, marks=pytest.mark.skip(reason="no ../shared/corpus here"))]
    found = []
    for path in sorted(Path(CORPUS).glob("*.chat*.jsonl")):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            body = record["request"].get("body")
            if isinstance(body, dict) and isinstance(body.get("messages"), list):
                found.append(pytest.param(body, id=record["id"], marks=pytest.mark.corpus))
    return found


@pytest.mark.parametrize("body", chat_requests())
def test_a_recorded_chat_request_is_taken_by_googles_types_or_refused_by_field(body: dict[str, Any]) -> None:
    refused: list[str | None] = []
    for model in ("gemini-2.5-flash", "gemini-3-flash-preview", "gemini-3.6-flash"):
        try:
            call = CHAT.parse("c", json.dumps({**body, "model": "m"}).encode(), ())
            request = GEMINI.encode(call, a_deployment(model), CHAT, {})
        except BadRequest as refusal:
            refused.append(refusal.param)
            continue
        written = json.loads(request.body)
        typed(written)
        accepted(written, model_of(a_deployment(model)).signs_calls)
    assert all(refused)


def test_most_recorded_chat_requests_are_taken() -> None:
    bodies = [case.values[0] for case in chat_requests() if case.values[0] is not None]
    if not bodies:
        pytest.skip("no ../shared/corpus here")
    refused: dict[str, int] = {}
    for body in bodies:
        try:
            call = CHAT.parse("c", json.dumps({**body, "model": "m"}).encode(), ())
            GEMINI.encode(call, a_deployment("gemini-3-flash-preview"), CHAT, {})
        except BadRequest as refusal:
            field = ".".join(part for part in str(refusal.param).split(".") if not part.isdigit())
            refused[field] = refused.get(field, 0) + 1
    assert sum(refused.values()) < len(bodies) // 10, refused
