"""Embeddings through InvokeModel: each model's own body, and what it answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.adapter import Decoder
from gateway.core.blocks import Embedded, Event, Metered
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, UpstreamError
from gateway.core.types import Call
from tests.adapters.bedrock_wire import ADAPTER, a_deployment

TITAN, OLD_TITAN = "amazon.titan-embed-text-v2:0", "amazon.titan-embed-text-v1"
COHERE, COHERE_4 = "cohere.embed-english-v3", "us.cohere.embed-v4:0"
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"


class Events:
    """A writer that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[Event] = []

    def write(self, event: Event) -> bytes:
        self.said.append(event)
        return b""

    def end(self) -> bytes:
        return b"."


class Asking:
    """A dialect that asks for what it was made with."""

    def __init__(self, asked: EmbeddingRequest) -> None:
        self.asked = asked
        self.events = Events()

    def embedding_request(self, call: Call) -> EmbeddingRequest:
        return self.asked

    def writer(self, call: Call, model: str) -> Events:
        return self.events


def a_call(strict: bool = False) -> Call:
    return Call(id="1", endpoint="embeddings", dialect="embeddings", body=b"{}", strict=strict)


def sent(model: str, *inputs: Any, strict: bool = False, **fields: Any) -> tuple[bytes, dict[str, Any], str]:
    """Returns path, body and warnings."""
    dialect: Any = Asking(EmbeddingRequest(inputs, **fields))
    request = ADAPTER.encode(a_call(strict), a_deployment(model), dialect, {})
    return request.path, json.loads(request.body), " ".join(request.warnings)


def refused(model: str, *inputs: Any, **fields: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        sent(model, *inputs, **fields)
    return caught.value.param


def answered(body: object, count: int = 1) -> tuple[Decoder, list[Event]]:
    dialect: Any = Asking(EmbeddingRequest(("a",) * count))
    decoder = ADAPTER.decoder(a_call(), a_deployment(TITAN), dialect)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert list(decoder.feed(raw[:3])) == list(decoder.feed(raw[3:])) == []
    assert list(decoder.end()) == [b"."]
    return decoder, dialect.events.said


def test_titan() -> None:
    assert sent(TITAN, "a") == (b"/model/amazon.titan-embed-text-v2%3A0/invoke", {"inputText": "a"}, "")
    assert sent(TITAN, "a", dimensions=256)[1] == {"inputText": "a", "dimensions": 256}
    assert sent(OLD_TITAN, "a")[1] == {"inputText": "a"}
    assert refused(OLD_TITAN, "a", dimensions=256) == "dimensions"
    assert "input_type" in sent(TITAN, "a", input_type="search_query")[2]


def test_cohere() -> None:
    _, body, told = sent(COHERE, "a", "b", input_type="search_query")
    assert body == {"texts": ["a", "b"], "input_type": "search_query", "truncate": "NONE"}
    assert told == ""
    _, body, told = sent(COHERE_4, "a", dimensions=512)
    assert body == {
        "texts": ["a"],
        "input_type": "search_document",
        "truncate": "NONE",
        "embedding_types": ["float"],
        "output_dimension": 512,
    }
    assert "input_type: the model wants one, search_document was taken" in told
    assert refused(COHERE, "a", dimensions=512) == "dimensions"
    assert refused(COHERE, "a", input_type="image") == "input_type"
    with pytest.raises(BadRequest) as caught:
        sent(COHERE, "a", strict=True)
    assert caught.value.param == "input_type"


def test_nova() -> None:
    assert sent(NOVA, "a", dimensions=384, input_type="clustering")[1] == {
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": "CLUSTERING",
            "embeddingDimension": 384,
            "text": {"truncationMode": "NONE", "value": "a"},
        },
    }


@pytest.mark.parametrize("model", [TITAN, OLD_TITAN, NOVA])
def test_a_model_that_takes_one_text_a_call_is_not_asked_for_more(model: str) -> None:
    with pytest.raises(BadRequest, match="one text a call") as caught:
        sent(model, "a", "b")
    assert caught.value.param == "input"


def test_what_no_model_takes_is_refused() -> None:
    sent(COHERE, *("a" for _ in range(96)), input_type="clustering")
    assert refused(COHERE, *("a" for _ in range(97))) == "input"
    assert refused(TITAN, (1, 2)) == "input"
    assert refused("amazon.nova-pro-v1:0", "a") == "model"
    assert "unknown_field" in sent(TITAN, "a", extra={"unknown_field": 1})[2]


@pytest.mark.parametrize(
    ("body", "vectors"),
    [
        ({"embedding": [1, 0.5], "inputTextTokenCount": 3}, [[1, 0.5]]),
        ({"embedding": [1.5], "embeddingsByType": {"float": [1.5]}}, [[1.5]]),
        ({"embeddings": [[1, 2], [3, 4]], "id": "x", "response_type": "embeddings_floats"}, [[1, 2], [3, 4]]),
        ({"embeddings": {"float": [[1.0, 2.0]]}, "response_type": "embeddings_by_type"}, [[1, 2]]),
        ({"embeddings": [{"embeddingType": "TEXT", "embedding": [0.25]}]}, [[0.25]]),
    ],
)
def test_the_vectors_of_every_form(body: dict[str, Any], vectors: list[list[float]]) -> None:
    decoder, events = answered(body, len(vectors))
    found = [event for event in events if isinstance(event, Embedded)]
    assert [(event.index, list(event.vector)) for event in found] == list(enumerate(vectors))
    assert (decoder.started, decoder.complete) == (True, True)
    counted = body.get("inputTextTokenCount")
    assert [event.usage.fresh_input for event in events if isinstance(event, Metered)] == ([counted] if counted else [])
    assert (decoder.usage is None) == (counted is None)


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"embeddings": "x"}', b'{"embedding": ["x"]}', b"[1, 2]", b'{"embedding": [1, 2', b'{"embeddings": {}}'],
)
def test_an_answer_without_vectors_is_an_error(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        answered(body)


def test_an_answer_with_a_vector_too_few_is_an_error() -> None:
    with pytest.raises(UpstreamError, match="1 vectors for 2 inputs"):
        answered({"embeddings": [[1.0]]}, 2)


def test_only_who_asks_for_it_has_long_texts_cut() -> None:
    assert sent(COHERE, "a", input_type="search_query", extra={"truncate": "END"})[1]["truncate"] == "END"
    single = sent(NOVA, "a", input_type="search_query", extra={"truncate": "END"})[1]["singleEmbeddingParams"]
    assert single["text"]["truncationMode"] == "END"
    assert "truncate" in sent(TITAN, "a", extra={"truncate": "END"})[2]
