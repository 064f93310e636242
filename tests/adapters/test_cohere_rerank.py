"""Reranking at Cohere: requests checked by its SDK's types, answers with the documents that are wanted back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.errors import BadRequest, UpstreamError
from gateway.core.types import Call
from tests.adapters.anthropic_wire import corpus, fed
from tests.adapters.cohere_wire import ADAPTER, CHAT, PLACE
from tests.fakes.cohere import check

META = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}


def a_call(strict: bool = False, **body: Any) -> Call:
    asked = {"model": "m", "query": "q", "documents": ["a", {"text": "b", "title": "B"}], **body}
    return Call(id="c", endpoint="rerank", dialect="rerank", body=json.dumps(asked).encode(), strict=strict)


def sent(**body: Any) -> dict[str, Any]:
    request = ADAPTER.encode(a_call(**body), PLACE, CHAT, {})
    assert request.path == b"/v2/rerank"
    written: dict[str, Any] = json.loads(request.body)
    check("/v2/rerank", written)
    return written


def answered(call: Call, answer: Any) -> Any:
    return json.loads(fed(ADAPTER.decoder(call, PLACE, CHAT), [json.dumps(answer).encode()]))


def test_a_request_is_written_with_texts() -> None:
    assert sent(top_n=1, max_tokens_per_doc=None, return_documents=True) == {
        "model": "command-a-03-2025",
        "query": "q",
        "documents": ["a", "b"],
        "top_n": 1,
    }


def test_what_cohere_does_not_know_is_declared() -> None:
    request = ADAPTER.encode(a_call(rank_fields=["title"]), PLACE, CHAT, {})
    assert request.warnings == ("rank_fields: Cohere has no such field, left out",)
    with pytest.raises(BadRequest):
        ADAPTER.encode(a_call(strict=True, rank_fields=["title"]), PLACE, CHAT, {})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"query": " "}, "query"),
        ({"query": {"text": "q"}}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": "a"}, "documents"),
        ({"documents": ["a", {"image": "x"}]}, "documents.1"),
        ({"documents": ["a", ""]}, "documents.1"),
    ],
)
def test_what_cannot_be_ranked_is_refused_with_its_field(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        sent(**body)
    assert caught.value.param == param


def test_documents_come_back_where_they_are_wanted() -> None:
    results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
    answer = {"id": "r", "results": results, "meta": META}
    assert answered(a_call(), answer) == {"id": "r", "model": "m", "results": results, "meta": META}
    given = answered(a_call(return_documents=True), answer)["results"]
    assert [result["document"] for result in given] == [{"text": "b"}, {"text": "a"}]


@pytest.mark.parametrize("body", [b"{", b"[]"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        ADAPTER.encode(Call(id="c", endpoint="rerank", dialect="rerank", body=body), PLACE, CHAT, {})


def test_an_answer_that_is_no_json_is_an_error() -> None:
    with pytest.raises(UpstreamError):
        fed(ADAPTER.decoder(a_call(), PLACE, CHAT), [b"{"])


@pytest.mark.parametrize(
    "answer", [{"id": "a", "message": "no"}, [], {"results": 5}, {"results": [{"index": 7, "relevance_score": 1}]}]
)
def test_an_answer_without_results_is_an_error(answer: Any) -> None:
    with pytest.raises(UpstreamError):
        answered(a_call(return_documents=True), answer)


@pytest.mark.parametrize("record", corpus("cohere.rerank"))
def test_recorded_rankings_are_handed_on(record: Any) -> None:
    asked, body = record["request"]["body"], record["response"]["body"]
    call = Call(id="c", endpoint="rerank", dialect="rerank", body=json.dumps(asked).encode())
    request = json.loads(ADAPTER.encode(call, PLACE, CHAT, {}).body)
    check("/v2/rerank", request)
    assert {**request, "model": asked["model"]} == {name: value for name, value in asked.items() if value is not None}
    reader = ADAPTER.decoder(call, PLACE, CHAT)
    out = json.loads(fed(reader, [json.dumps(body).encode()]))
    assert (out["id"], out["results"], out["meta"]) == (body["id"], body["results"], body["meta"])
    assert reader.usage is not None
    assert (reader.usage.input_tokens, json.loads(reader.usage.raw)) == (0, body["meta"])
