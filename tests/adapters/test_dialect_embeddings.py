"""The embeddings dialect: what callers may ask for, and vectors as OpenAI's SDK reads them."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import DefaultHttpxClient, OpenAI
from openai.types import CreateEmbeddingResponse

from adapters import _embeddings
from adapters._embeddings import Vectors
from adapters.dialects.embeddings import EmbeddingsDialect
from gateway.core.blocks import Begin, Embedded, Metered
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, Reason, UpstreamError
from gateway.core.money import Usage
from gateway.core.types import Call, Deployment
from tests.adapters.anthropic_wire import corpus, validator

EMBEDDINGS = EmbeddingsDialect()
PLACE = Deployment(name="d", provider="p", kind="cohere", model="theirs", adapter="cohere", base_path=b"", endpoints=())
RESPONSE = validator("CreateEmbeddingResponse")


def a_call(**fields: Any) -> Call:
    return EMBEDDINGS.parse("c", json.dumps({"model": "m", "input": "a", **fields}).encode(), ())


def request(**fields: Any) -> EmbeddingRequest:
    return EMBEDDINGS.embedding_request(a_call(**fields))


def written(call: Call, vectors: list[list[float]], usage: Usage | None = None, model: str = "theirs") -> Any:
    writer = EMBEDDINGS.writer(call, "ours")
    out = [writer.write(Begin("id", model))]
    # They may come in any order.
    out.extend(writer.write(Embedded(index, vector)) for index, vector in reversed(list(enumerate(vectors))))
    if usage is not None:
        out.append(writer.write(Metered(usage)))
    assert b"".join(out) == b""
    return json.loads(writer.end())


@pytest.mark.parametrize(
    ("given_input", "read"),
    [
        ("a", ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1], [2, 3]], ((1,), (2, 3))),
    ],
)
def test_every_form_of_an_input_is_read(given_input: Any, read: Any) -> None:
    assert request(input=given_input).inputs == read


def test_the_fields_are_read_and_a_vendors_own_are_kept() -> None:
    read = request(
        dimensions=64, encoding_format="base64", user="u", input_type="search_query", truncate="END", priority=None
    )
    assert read == EmbeddingRequest(("a",), 64, True, "search_query", "u", {"truncate": "END"})
    assert request() == EmbeddingRequest(("a",))
    assert request(encoding_format="float").base64 is False


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ["a", ""]}, "input.1"),
        ({"input": ["a", 5]}, "input.1"),
        ({"input": [1, "a"]}, "input.1"),
        ({"input": [1, -1]}, "input.1"),
        ({"input": [1, True]}, "input.1"),
        ({"input": [[1], []]}, "input.1"),
        ({"input": [[1], [2, 0.5]]}, "input.1.1"),
        ({"input": [{}]}, "input.0"),
        ({"encoding_format": "ubinary"}, "encoding_format"),
        ({"encoding_format": 5}, "encoding_format"),
        ({"input_type": "image"}, "input_type"),
        ({"input_type": 5}, "input_type"),
    ],
)
def test_what_cannot_be_embedded_is_refused_with_its_field(fields: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        request(**fields)
    assert caught.value.param == param


def test_a_request_that_was_never_parsed_is_read_as_strictly() -> None:
    for body, param in ((b"{", None), (b"[]", None), (b"{}", "input"), (b'{"input":""}', "input")):
        call = Call(id="c", endpoint="embeddings", dialect="embeddings", body=body)
        with pytest.raises(BadRequest) as caught:
            EMBEDDINGS.embedding_request(call)
        assert caught.value.param == param


def test_errors_are_openais() -> None:
    error = BadRequest("no", param="input")
    told = json.loads(EMBEDDINGS.error(error))["error"]
    assert (told["message"], told["param"]) == ("no", "input")
    assert EMBEDDINGS.error_event(error) == b"data: " + EMBEDDINGS.error(error) + b"\n\n"


@pytest.mark.parametrize(
    ("word", "read"),
    [("document", "search_document"), ("passage", "search_document"), ("query", "search_query"), (None, None)],
)
def test_what_vectors_are_for_may_be_said_in_other_words(word: str | None, read: str | None) -> None:
    assert request(input_type=word).input_type == read


@pytest.mark.parametrize("dimensions", [0, -1, 2**31, 1.5, "64"])
def test_dimensions_are_a_count(dimensions: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        a_call(dimensions=dimensions)
    assert caught.value.param == "dimensions"


def test_vectors_are_written_in_the_order_of_their_inputs_as_the_schema_has_it() -> None:
    answer = written(a_call(input=["a", "b"]), [[0.5, -1.0], [0.25, 1.0]], Usage(fresh_input=7))
    assert answer == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [0.25, 1.0]},
        ],
        "model": "theirs",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
    if RESPONSE is not None:
        RESPONSE.validate(answer)
    assert CreateEmbeddingResponse.model_validate(answer, strict=True).data[1].embedding == [0.25, 1.0]


def test_usage_that_no_provider_counted_is_an_estimate_that_says_so() -> None:
    assert written(a_call(input=["12345", "ä"]), [[1.0], [1.0]])["usage"] == {
        "prompt_tokens": 3,
        "total_tokens": 3,
        "estimated": True,
    }
    assert written(a_call(input=[1, 2, 3]), [[1.0]], model="")["usage"]["prompt_tokens"] == 3
    assert written(a_call(), [[1.0]], model="")["model"] == "ours"


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1), min_size=1))
def test_base64_is_the_very_floats_in_little_endian(vectors: list[list[float]]) -> None:
    answer = written(a_call(encoding_format="base64"), vectors)
    for row, vector in zip(answer["data"], vectors, strict=True):
        raw = base64.b64decode(row["embedding"], validate=True)
        assert list(struct.unpack(f"<{len(vector)}f", raw)) == vector


def test_the_official_sdk_reads_the_base64_that_it_asks_for_by_default() -> None:
    asked: dict[str, Any] = {}

    def answer(asking: httpx2.Request) -> httpx2.Response:
        asked.update(json.loads(asking.content))
        return httpx2.Response(200, json=written(a_call(**asked), [[0.1, -0.5]], Usage(fresh_input=1)))

    http = DefaultHttpxClient(transport=httpx2.MockTransport(answer))
    with OpenAI(api_key="none", base_url="http://gateway.test/v1", http_client=http) as client:
        got = client.embeddings.create(model="m", input="a")
    assert asked["encoding_format"] == "base64"
    assert got.data[0].embedding == [struct.unpack("<f", struct.pack("<f", 0.1))[0], -0.5]


RELAYED = ("openai", "azure", "mistral", "openrouter", "perplexity", "voyage")


@pytest.mark.parametrize("record", corpus(*(f"{name}.embeddings" for name in RELAYED)))
def test_recorded_vectors_are_written_as_their_provider_wrote_them(record: Any) -> None:
    body = record["response"]["body"]
    rows = [row["embedding"] for row in body["data"]]
    packed = isinstance(rows[0], str)
    asked = {**record["request"]["body"], "encoding_format": "base64" if packed else "float"}
    call = EMBEDDINGS.parse("c", json.dumps(asked).encode(), ())
    if record["provider"] == "perplexity":
        pytest.skip("its base64 holds bytes, no floats")
    assert len(EMBEDDINGS.embedding_request(call).inputs) == len(rows)
    floats = [list(struct.unpack(f"<{len(raw) // 4}f", raw)) for raw in map(base64.b64decode, rows)] if packed else rows
    answer = written(call, floats, Usage(fresh_input=body["usage"]["total_tokens"]), body["model"])
    assert [row["embedding"] for row in answer["data"]] == rows
    assert answer["usage"]["total_tokens"] == body["usage"]["total_tokens"]


# -- what providers share -----------------------------------------------------------------------------------------


def test_a_providers_limit_is_named() -> None:
    assert _embeddings.texts(request(input=["a", "b"]), "Cohere", 2) == ["a", "b"]
    assert _embeddings.texts(request(input=["a"] * 3000), "Ollama", None) == ["a"] * 3000
    with pytest.raises(BadRequest, match="at most 2 inputs") as caught:
        _embeddings.texts(request(input=["a", "b", "c"]), "Cohere", 2)
    assert caught.value.param == "input"


@pytest.mark.parametrize(("tokens", "param"), [([1, 2], "input"), ([[1], [2]], "input.0")])
def test_tokens_are_no_text(tokens: Any, param: str) -> None:
    with pytest.raises(BadRequest, match="not tokens") as caught:
        _embeddings.texts(request(input=tokens), "Cohere", None)
    assert caught.value.param == param


def test_a_decoder_writes_what_its_provider_read() -> None:
    usage = Usage(fresh_input=3)
    reader = _embeddings.decoder(
        a_call(input=["a", "b"]), PLACE, EMBEDDINGS, lambda body: Vectors([[1.0], [2.0]], usage)
    )
    assert (reader.started, reader.complete, list(reader.feed(b"{"))) == (False, False, [])
    (body,) = reader.end()
    assert [row["embedding"] for row in json.loads(body)["data"]] == [[1.0], [2.0]]
    assert (reader.started, reader.complete, reader.usage, reader.finish, reader.progress) == (
        True,
        True,
        usage,
        None,
        1,
    )


@pytest.mark.parametrize("vectors", [[[1.0]], [[1.0], [2.0], [3.0]], [[1.0], []], []])
def test_a_missing_vector_is_an_error_and_no_gap(vectors: Any) -> None:
    reader = _embeddings.decoder(a_call(input=["a", "b"]), PLACE, EMBEDDINGS, lambda body: Vectors(vectors))
    with pytest.raises(UpstreamError) as caught:
        list(reader.end())
    assert (caught.value.reason, reader.started) == (Reason.SERVER_ERROR, False)
