"""Claude at Vertex for callers of Anthropic's Messages: the bytes go through, and Anthropic's own client agrees."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from anthropic import AnthropicVertex, BadRequestError
from anthropic._constants import ANTHROPIC_API_VERSION

from adapters.dialects.chat import ChatDialect
from adapters.dialects.count_tokens import CountTokensDialect
from adapters.dialects.messages import MessagesDialect
from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import BadRequest, Reason, StreamCut, UpstreamError
from gateway.core.types import Headers
from tests.adapters.anthropic_wire import corpus
from tests.adapters.gemini_wire import VERTEX, a_deployment, fed

CLAUDE = "claude-sonnet-4-5@20250929"
PLACE = a_deployment(CLAUDE, "vertex", options={"project": "p", "region": "us-east5"})
BASE = "/v1/projects/p/locations/us-east5/publishers/anthropic/models"
MESSAGES = MessagesDialect()
COUNT = CountTokensDialect()
ASKED: dict[str, Any] = {
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "hi"}],
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
}


def encode(
    body: bytes | None = None, headers: Headers = (), counting: bool = False, fetched: Any = None, **fields: Any
) -> UpstreamRequest:
    dialect = COUNT if counting else MESSAGES
    call = dialect.parse("c", body or json.dumps({"model": "m", **ASKED, **fields}).encode(), headers)
    return VERTEX.encode(call, PLACE, dialect, fetched or {})


def test_every_member_but_the_model_keeps_its_bytes() -> None:
    body = b'{"max_tokens": 9,"messages":[ {"role":"user","content":"\\u00fc"} ],"model":"m","new": {"a":1.50e2}}'
    request = encode(body)
    assert request.path.decode() == f"{BASE}/{CLAUDE}:rawPredict"
    assert request.body == (
        b'{"max_tokens":9,"messages":[ {"role":"user","content":"\\u00fc"} ],"new":{"a":1.50e2},'
        b'"anthropic_version":"vertex-2023-10-16"}'
    )
    assert encode(stream=True).path.decode() == f"{BASE}/{CLAUDE}:streamRawPredict"


@pytest.mark.parametrize("asked", ["create", "stream", "count_tokens"])
def test_it_is_what_anthropics_own_client_sends_to_vertex(asked: str) -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(400, json={})

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    client = AnthropicVertex(region="us-east5", project_id="p", access_token="t", max_retries=0, http_client=http)
    fields = {name: value for name, value in ASKED.items() if name != "max_tokens"}
    ask: dict[str, Callable[[], object]] = {
        "create": lambda: client.messages.create(model=CLAUDE, **ASKED),
        "stream": lambda: client.messages.create(model=CLAUDE, stream=True, **ASKED),
        "count_tokens": lambda: client.messages.count_tokens(model=CLAUDE, **fields),
    }
    with client, pytest.raises(BadRequestError):
        ask[asked]()
    (sent,) = seen
    caller = {**json.loads(sent.content), "model": "m"}
    version = caller.pop("anthropic_version")
    assert version == ANTHROPIC_API_VERSION
    headers = ((b"anthropic-version", version.encode()),)
    request = encode(json.dumps(caller).encode(), headers, counting=asked == "count_tokens")
    assert request.path.decode() == sent.url.raw_path.decode().replace("%40", "@")
    assert json.loads(request.body) == json.loads(sent.content)


def test_betas_that_vertex_knows_go_in_their_header_and_others_are_declared() -> None:
    given = ((b"anthropic-beta", b"context-1m-2025-08-07, prompt-caching-scope-2026-01-05"),)
    request = encode(headers=(*given, (b"anthropic-version", b"2023-06-01")))
    assert dict(request.headers)[b"anthropic-beta"] == b"context-1m-2025-08-07"
    assert b"anthropic-version" not in dict(request.headers)
    assert "beta=true" not in request.path.decode()
    assert request.warnings == ("anthropic-beta: Vertex does not know prompt-caching-scope-2026-01-05 here, left out",)
    with pytest.raises(BadRequest) as caught:
        encode(headers=(*given, (b"x-headgate-strict", b"true")))
    assert caught.value.param == "anthropic-beta"
    assert b"anthropic-beta" not in dict(encode(headers=given, counting=True).headers)


def test_media_that_were_fetched_stand_in_the_place_of_their_urls() -> None:
    url = "https://x.org/a"
    image = {"type": "image", "source": {"type": "url", "url": url}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    messages = [{"role": "user", "content": [image]}, {"role": "user", "content": [result]}]
    sent = json.loads(encode(messages=messages, fetched={url: ("image/png", b"\x89PNG")}).body)["messages"]
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}
    assert sent[0]["content"][0]["source"] == source
    assert sent[1]["content"][0]["content"][0]["source"] == source
    assert json.loads(encode(messages=messages).body)["messages"] == messages


@pytest.mark.parametrize("record", corpus("vertex.messages", "vertex.messages.stream"))
def test_a_recorded_answer_goes_to_its_caller_as_it_came(record: Any) -> None:
    response = record["response"]
    stream = response["format"] == "sse"
    raw = response["sse"].encode() if stream else json.dumps(response["body"]).encode()
    call = MESSAGES.parse("c", json.dumps({"model": "m", **ASKED, "stream": stream}).encode(), ())
    for reads in ([raw], [raw[at : at + 1] for at in range(len(raw))]):
        decoder = VERTEX.decoder(call, PLACE, MESSAGES)
        assert fed(decoder, reads) == raw
        assert decoder.complete
        assert decoder.usage is not None
    if stream:
        decoder = VERTEX.decoder(call, PLACE, MESSAGES)
        with pytest.raises(StreamCut):
            fed(decoder, [raw[: len(raw) // 2]])


def test_a_count_is_handed_on_and_anything_else_is_none() -> None:
    call = COUNT.parse("c", json.dumps({"model": "m", **ASKED}).encode(), ())
    assert fed(VERTEX.decoder(call, PLACE, COUNT), [b'{"input_', b'tokens":14}']) == b'{"input_tokens":14}'
    with pytest.raises(UpstreamError) as caught:
        fed(VERTEX.decoder(call, PLACE, COUNT), [b"{}"])
    assert caught.value.reason is Reason.SERVER_ERROR


def test_callers_of_other_dialects_are_translated_as_before() -> None:
    chat = ChatDialect()
    call = chat.parse("c", b'{"model":"m","messages":[{"role":"user","content":"hi"}]}', ())
    sent = json.loads(VERTEX.encode(call, PLACE, chat, {}).body)
    assert sent["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
