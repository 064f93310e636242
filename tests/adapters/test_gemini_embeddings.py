"""Embeddings at Google: what is sent to either place, and what comes back."""

from __future__ import annotations

import base64
import json
from array import array
from typing import Any

import pytest

from adapters.dialects.embeddings import EmbeddingsDialect
from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import BadRequest, Reason, UpstreamError
from gateway.core.types import Call
from tests.adapters.anthropic_wire import corpus
from tests.adapters.gemini_wire import GEMINI, VERTEX, a_deployment, fed

EMBEDDINGS = EmbeddingsDialect()
PROJECT = {"project": "p", "region": "us-central1"}


def asked(strict: bool = False, **body: Any) -> Call:
    headers = ((b"x-headgate-strict", b"true"),) if strict else ()
    return EMBEDDINGS.parse("c", json.dumps({"model": "m", **body}).encode(), headers)


def studio(model: str = "gemini-embedding-001", **body: Any) -> UpstreamRequest:
    return GEMINI.encode(asked(**body), a_deployment(model), EMBEDDINGS, {})


def vertex(model: str = "text-embedding-005", **body: Any) -> UpstreamRequest:
    return VERTEX.encode(asked(**body), a_deployment(model, "vertex", options=PROJECT), EMBEDDINGS, {})


def test_ai_studio_embeds_inputs_as_a_batch() -> None:
    request = studio(input=["a", "b"], dimensions=5, input_type="search_query")
    assert request.path == b"/v1beta/models/gemini-embedding-001:batchEmbedContents"
    each = {"model": "models/gemini-embedding-001", "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 5}
    assert json.loads(request.body) == {
        "requests": [{**each, "content": {"parts": [{"text": text}]}} for text in ("a", "b")]
    }


def test_vertex_predicts_vectors_and_cuts_no_input_in_silence() -> None:
    request = vertex(input=["a", "b"], dimensions=5, task_type="QUESTION_ANSWERING", title="t")
    base = b"/v1beta1/projects/p/locations/us-central1/publishers/google/models/text-embedding-005"
    assert request.path == base + b":predict"
    each = {"task_type": "QUESTION_ANSWERING", "title": "t"}
    assert json.loads(request.body) == {
        "instances": [{"content": "a", **each}, {"content": "b", **each}],
        "parameters": {"autoTruncate": False, "outputDimensionality": 5},
    }
    assert json.loads(vertex(input="a", auto_truncate=True).body)["parameters"] == {"autoTruncate": True}
    second = vertex("gemini-embedding-2", input="a", dimensions=5)
    assert second.path.endswith(b"gemini-embedding-2:embedContent")
    assert json.loads(second.body) == {
        "content": {"parts": [{"text": "a"}]},
        "autoTruncate": False,
        "outputDimensionality": 5,
    }


@pytest.mark.parametrize(
    ("send", "model", "body", "field"),
    [
        (studio, "gemini-embedding-001", {"input": [1, 2]}, "input"),
        (studio, "gemini-embedding-001", {"input": ["a"] * 101}, "input"),
        (studio, "gemini-embedding-001", {"input": "a", "task_type": 1}, "task_type"),
        (vertex, "gemini-embedding-001", {"input": ["a", "b"]}, "input"),
        (vertex, "gemini-embedding-2", {"input": ["a", "b"]}, "input"),
        (vertex, "text-embedding-005", {"input": ["a"] * 251}, "input"),
    ],
)
def test_what_the_place_does_not_embed_is_refused_by_its_field(
    send: Any, model: str, body: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        send(model, **body)
    assert caught.value.param == field


def test_fields_that_google_has_not_are_declared() -> None:
    assert len(studio(input="a", user="u", truncate="END").warnings) == 2
    with pytest.raises(BadRequest):
        studio(strict=True, input="a", user="u")


def answered(adapter: Any, body: Any, **request: Any) -> tuple[dict[str, Any], Any]:
    reader = adapter.decoder(asked(**request), a_deployment("e", adapter.name), EMBEDDINGS)
    return json.loads(fed(reader, [json.dumps(body).encode()])), reader


def test_recorded_vectors_come_back_as_openais_in_floats_or_packed() -> None:
    records = [case.values[0] for case in corpus("gemini.embeddings") if case.values[0] is not None]
    if not records:
        pytest.skip("no ../shared/corpus here")
    for record in records:
        body = record["response"]["body"]
        values = (body.get("embeddings") or [body.get("embedding")])[0]["values"]
        told, reader = answered(GEMINI, body, input="a")
        assert told["data"] == [{"object": "embedding", "index": 0, "embedding": values}]
        counted = body.get("usageMetadata", {}).get("promptTokenCount")  # older models count nothing: an estimate
        assert (reader.usage.fresh_input if reader.usage is not None else None) == counted
        packed, _ = answered(GEMINI, body, input="a", encoding_format="base64")
        assert array("f", base64.b64decode(packed["data"][0]["embedding"])).tolist() == pytest.approx(values)


def test_recorded_predictions_come_back_with_the_tokens_that_were_counted() -> None:
    records = [case.values[0] for case in corpus("vertex.generate") if case.values[0] is not None]
    found = [record["response"]["body"] for record in records if "predictions" in (record["response"]["body"] or {})]
    if not found:
        pytest.skip("no ../shared/corpus here")
    told, reader = answered(VERTEX, found[0], input=["a", "b"])
    assert [len(each["embedding"]) for each in told["data"]] == [5, 5]
    assert told["usage"]["prompt_tokens"] == reader.usage.fresh_input == 11


def test_usage_of_the_request_counts_where_it_is_told() -> None:
    body = {"embedding": {"values": [1.0]}, "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3}}
    assert answered(VERTEX, body, input="a")[1].usage.fresh_input == 3


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, Reason.SERVER_ERROR),
        ([], Reason.SERVER_ERROR),
        ({"embeddings": [{"values": [1.0]}, {}]}, Reason.SERVER_ERROR),
        ({"embeddings": []}, Reason.SERVER_ERROR),
        ({"error": {"code": 503, "status": "UNAVAILABLE"}}, Reason.OVERLOADED),
    ],
)
def test_an_answer_without_its_vectors_is_an_error(body: Any, reason: Reason) -> None:
    with pytest.raises(UpstreamError) as caught:
        answered(GEMINI, body, input="a")
    assert caught.value.reason is reason
