"""Anthropic's answers to a Responses caller, and back with the next request: no block is lost, none changes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from gateway.core.adapter import Decoder
from tests.adapters.anthropic_wire import ADAPTER, a_deployment, corpus, fed
from tests.adapters.responses_wire import RESPONSES, a_call, reassembled, told

TOOLS = [{"type": "function", "name": "search", "parameters": {"type": "object", "properties": {}}}]
# The shapes in which Anthropic's own blocks come and go: what a request may not repeat of an answer.
OF_ANSWERS_ALONE = ("citations", "caller")


def decoder(stream: bool) -> Decoder:
    return ADAPTER.decoder(a_call(stream=stream, tools=TOOLS), a_deployment("claude-opus-4-5"), RESPONSES)


def spoken(output: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the assistant's blocks that Anthropic is sent with the next request."""
    asked: list[dict[str, Any]] = [{"role": "user", "content": "hi"}, *output]
    asked += [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "done"}
        for item in output
        if item["type"] == "function_call"
    ]
    asked.append({"role": "user", "content": "go on"})
    call = a_call(input=asked, tools=TOOLS, store=False)
    sent = json.loads(ADAPTER.encode(call, a_deployment("claude-opus-4-5"), RESPONSES, {}).body)
    return [block for turn in sent["messages"] if turn["role"] == "assistant" for block in turn["content"]]


def merged(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Texts that follow each other are one, empty ones none; tool calls stand at the end, as Responses gathers them."""
    out: list[dict[str, Any]] = []
    for block in blocks:
        block = {name: value for name, value in block.items() if name not in OF_ANSWERS_ALONE}
        if block["type"] == "text":
            if out and out[-1]["type"] == "text":
                out[-1]["text"] += block["text"]
            elif block["text"].strip():
                out.append(block)
        elif block["type"] != "thinking" or block["signature"]:
            out.append(block)
    return out


def original(record: Any) -> list[dict[str, Any]]:
    """Reads a recorded answer's blocks by itself."""
    if record["response"]["format"] == "json":
        content: list[dict[str, Any]] = record["response"]["body"]["content"]
        return content
    blocks: list[dict[str, Any]] = []
    for line in record["response"]["sse"].splitlines():
        if not line.startswith("data:"):
            continue
        event = json.loads(line[5:])
        if event["type"] == "content_block_start":
            blocks.append(dict(event["content_block"]))
            blocks[-1]["partial"] = ""
        elif event["type"] == "content_block_delta":
            delta, block = event["delta"], blocks[event["index"]]
            for name in ("text", "thinking", "signature"):
                if delta["type"] == f"{name}_delta":
                    block[name] = (block.get(name) or "") + delta[name]
            block["partial"] += delta.get("partial_json", "")
    for block in blocks:
        partial = block.pop("partial")
        if partial:
            block["input"] = json.loads(partial)
    return blocks


@pytest.mark.parametrize("record", corpus("anthropic.messages", "anthropic.messages.stream"))
def test_every_recorded_answer_comes_back_to_anthropic_as_it_was(record: Any) -> None:
    stream = record["response"]["format"] == "sse"
    body = record["response"]["sse"] if stream else json.dumps(record["response"]["body"])
    if record["response"]["status"] != 200 or body.count('"stop_reason":') < 1 or body.count("message_start") > 2:
        pytest.skip("not one answer")  # a fixture of several, one after the other
    out = fed(decoder(stream), [body.encode()])
    response = reassembled(told(out)) if stream else json.loads(out)
    refusals = [part for item in response["output"] for part in item.get("content", ()) if part["type"] == "refusal"]
    expected = original(record) + [{"type": "text", "text": part["refusal"]} for part in refusals]
    assert merged(spoken(response["output"])) == merged(expected)


def test_ids_of_another_provider_that_anthropic_refuses_are_written_otherwise() -> None:
    items = [
        {"role": "user", "content": "hi"},
        *({"type": "function_call", "call_id": one, "name": "search", "arguments": "{}"} for one in ("f.a:0", "f_a_0")),
        *({"type": "function_call_output", "call_id": one, "output": one} for one in ("f.a:0", "f_a_0")),
    ]
    request = ADAPTER.encode(a_call(input=items, tools=TOOLS), a_deployment("claude-opus-4-5"), RESPONSES, {})
    called, answered = json.loads(request.body)["messages"][1:]
    used = [block["id"] for block in called["content"]]
    assert all(re.fullmatch("[a-zA-Z0-9_-]+", one) for one in used)
    assert [block["tool_use_id"] for block in answered["content"]] == used
    assert len(set(used)) == 2
