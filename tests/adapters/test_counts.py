"""Counting tokens where a provider does that in words of its own: what is asked, and what becomes of its answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import gemini, vertex, vllm
from adapters._counts import CountDecoder
from adapters.dialects.count_tokens import CountTokensDialect
from gateway.core.adapter import Adapter, UpstreamRequest
from gateway.core.errors import UpstreamError
from gateway.core.types import Call, Deployment
from tests.adapters.anthropic_wire import corpus
from tests.adapters.gemini_wire import fed

COUNT = CountTokensDialect()
ASKED: dict[str, Any] = {
    "model": "m",
    "system": "Be terse.",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "tools": [
        {
            "name": "counting_weather",
            "description": "Gets current weather for a city",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }
    ],
    "tool_choice": {"type": "any"},
}
CALL = COUNT.parse("c", json.dumps(ASKED).encode(), ())


def a_place(adapter: Adapter, model: str, base: bytes = b"", **options: str) -> Deployment:
    return Deployment("d", "p", adapter.name, model, adapter.name, base, (), options=options)


GEMINI = (gemini.adapter(), a_place(gemini.adapter(), "gemini-3.5-flash", b"/v1beta"))
VERTEX = (vertex.adapter(), a_place(vertex.adapter(), "gemini-2.5-flash", project="pydantic-ai", region="global"))
VLLM = (vllm.adapter(), a_place(vllm.adapter(), "llama", b"/v1"))


def encode(place: tuple[Adapter, Deployment], call: Call = CALL) -> UpstreamRequest:
    return place[0].encode(call, place[1], COUNT, {})


def test_gemini_counts_the_whole_request_as_it_would_be_asked() -> None:
    request = encode(GEMINI)
    assert request.path == b"/v1beta/models/gemini-3.5-flash:countTokens"
    body = json.loads(request.body)
    assert body.keys() == {"generateContentRequest"}
    asked = body["generateContentRequest"]
    assert asked["model"] == "models/gemini-3.5-flash"
    assert asked["systemInstruction"] == {"parts": [{"text": "Be terse."}]}
    assert asked["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}


def test_vertex_counts_the_parts_that_its_method_takes() -> None:
    request = encode(VERTEX)
    assert request.path.decode() == (
        "/v1beta1/projects/pydantic-ai/locations/global/publishers/google/models/gemini-2.5-flash:countTokens"
    )
    assert json.loads(request.body).keys() == {"contents", "systemInstruction", "tools"}


def test_vllm_counts_what_its_chat_template_makes_of_the_messages() -> None:
    request = encode(VLLM)
    assert request.path == b"/tokenize"
    body = json.loads(request.body)
    assert body.keys() == {"model", "messages", "tools"}
    assert body["model"] == "llama"
    assert body["messages"][0] == {"role": "system", "content": "Be terse."}
    beneath = a_place(VLLM[0], "llama", b"/pool/v1")
    assert encode((VLLM[0], beneath)).path == b"/pool/tokenize"


@pytest.mark.parametrize("record", corpus("gemini.count_tokens", "vertex.count_tokens"))
def test_a_recorded_count_is_asked_for_in_the_same_words_and_read(record: Any) -> None:
    adapter, place = GEMINI if record["provider"] == "gemini" else VERTEX
    request = encode((adapter, place))
    recorded = record["request"]
    assert request.path.decode() == recorded["path"]
    written, sent = json.loads(request.body), recorded["body"]
    if record["provider"] == "gemini":
        written, sent = written["generateContentRequest"], sent["generateContentRequest"]
    assert written["contents"] == [{"role": "user", "parts": [{"text": "What is the capital of France?"}]}]
    assert set(sent) - {"generationConfig"} <= set(written)  # theirs is empty
    response = json.dumps(record["response"]["body"]).encode()
    count = record["response"]["body"]["totalTokens"]
    for reads in ([response], [response[at : at + 1] for at in range(len(response))]):
        decoder = adapter.decoder(CALL, place, COUNT)
        assert json.loads(fed(decoder, reads)) == {"input_tokens": count}
        assert decoder.usage is None  # nothing was used


@given(st.integers(min_value=0, max_value=2**53), st.integers(min_value=1, max_value=9))
def test_a_count_is_handed_on_however_it_comes_apart(count: int, size: int) -> None:
    body = json.dumps({"count": count, "tokens": []}).encode()
    decoder = CountDecoder(COUNT.writer(CALL, "m"), "count")
    got = fed(decoder, [body[at : at + size] for at in range(0, len(body), size)])
    assert json.loads(got) == {"input_tokens": count}
    assert (decoder.started, decoder.complete) == (True, True)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"count":null}', b'{"count":-1}', b'{"count":true}'])
def test_what_is_no_count_is_an_error_of_the_provider(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        fed(CountDecoder(COUNT.writer(CALL, "m"), "count"), [body])
