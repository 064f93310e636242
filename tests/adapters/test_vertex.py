"""Vertex AI: where each model stands, and Anthropic's models in Anthropic's words."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from adapters.vertex import base_url
from gateway.core.blocks import Begin, Finished, TextDelta, ToolCallBegin
from gateway.core.errors import BadRequest, Reason
from tests.adapters.anthropic_wire import PNG, corpus
from tests.adapters.gemini_wire import CHAT, VERTEX, Told, a_call, a_deployment, fed

PROJECT = {"project": "p", "region": "eu"}
CLAUDE = "claude-sonnet-4-5@20250929"


def path(model: str, stream: bool = False, base_path: bytes = b"", **options: str) -> str:
    place = a_deployment(model, "vertex", base_path=base_path, options=options)
    return VERTEX.encode(a_call(stream=stream), place, CHAT, {}).path.decode()


@pytest.mark.parametrize(
    ("region", "url"),
    [
        (None, "https://aiplatform.googleapis.com"),
        ("global", "https://aiplatform.googleapis.com"),
        ("us-central1", "https://us-central1-aiplatform.googleapis.com"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_a_region_has_its_address(region: str | None, url: str) -> None:
    assert base_url(region) == url


def test_a_models_path_names_project_region_publisher_and_method() -> None:
    base = "/v1beta1/projects/p/locations/eu/publishers/google/models/gemini-2.5-flash"
    assert path("gemini-2.5-flash", **PROJECT) == f"{base}:generateContent"
    assert path("google/gemini-2.5-flash", **PROJECT) == f"{base}:generateContent"
    assert path("publishers/google/models/gemini-2.5-flash", **PROJECT) == f"{base}:generateContent"
    assert path("gemini-2.5-flash", True, **PROJECT) == f"{base}:streamGenerateContent?alt=sse"
    assert path("gemini-2.5-flash") == "/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent"
    assert path("gemini-x", project="p") == (
        "/v1beta1/projects/p/locations/global/publishers/google/models/gemini-x:generateContent"
    )
    assert path("1234567890", **PROJECT) == "/v1beta1/projects/p/locations/eu/endpoints/1234567890:generateContent"
    assert path("gemini-x", base_path=b"/v1", **PROJECT).startswith("/v1/projects/p/")


@pytest.mark.parametrize("model", [CLAUDE, f"anthropic/{CLAUDE}", f"publishers/anthropic/models/{CLAUDE}"])
def test_anthropics_models_are_asked_in_anthropics_words_without_a_model(model: str) -> None:
    base = f"/v1/projects/p/locations/eu/publishers/anthropic/models/{CLAUDE}"
    assert path(model, **PROJECT) == f"{base}:rawPredict"
    assert path(model, True, **PROJECT) == f"{base}:streamRawPredict"
    request = VERTEX.encode(a_call(max_tokens=9), a_deployment(model, "vertex", options=PROJECT), CHAT, {})
    assert json.loads(request.body) == {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }


def test_media_for_anthropics_models_go_as_bytes() -> None:
    url = "https://x.org/a"
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    call, place = a_call(messages=messages), a_deployment(CLAUDE, "vertex", options=PROJECT)
    assert [fetch.url for fetch in VERTEX.needs(call, place)] == [url]
    fetched = {url: ("image/png", base64.b64decode(PNG))}
    (block,) = json.loads(VERTEX.encode(call, place, CHAT, fetched).body)["messages"][0]["content"]
    assert block["source"] == {"type": "base64", "media_type": "image/png", "data": PNG}


RECORDS = corpus("vertex.messages", "vertex.messages.stream")


@pytest.mark.parametrize("record", RECORDS)
def test_a_recorded_request_to_anthropic_goes_where_it_went_with_the_same_fields(record: Any) -> None:
    recorded = record["request"]
    _, _, _, project, _, region, *_ = recorded["path"].split("/")
    model = recorded["path"].rsplit("/", 1)[1].split(":")[0]
    body = recorded["body"]
    call = a_call(messages=[{"role": "user", "content": "q"}], stream=body.get("stream", False), max_tokens=4000)
    place = a_deployment(model, "vertex", options={"project": project, "region": region})
    request = VERTEX.encode(call, place, CHAT, {})
    assert request.path.decode() == recorded["path"]
    assert base_url(region) == f"https://{recorded['host']}"
    written = json.loads(request.body)
    assert set(written) <= set(body)
    assert written["anthropic_version"] == body["anthropic_version"]
    assert written.get("stream") == body.get("stream")


@pytest.mark.parametrize("record", RECORDS)
def test_a_recorded_answer_of_anthropics_is_read_as_such_however_it_is_cut(record: Any) -> None:
    response = record["response"]
    stream = response["format"] == "sse"
    raw = response["sse"].encode() if stream else json.dumps(response["body"]).encode()
    place = a_deployment(CLAUDE, "vertex")
    found = []
    for reads in ([raw], [raw[at : at + 1] for at in range(len(raw))]):
        dialect = Told()
        fed(VERTEX.decoder(a_call(stream=stream), place, dialect), reads)  # type: ignore[arg-type]
        found.append(dialect.events)
    assert found[0] == found[1]
    assert isinstance(found[0][0], Begin)
    assert any(isinstance(event, TextDelta | ToolCallBegin) for event in found[0])
    assert isinstance(next(event for event in found[0] if isinstance(event, Finished)), Finished)


def test_an_error_is_the_partners_or_googles_by_its_shape() -> None:
    partners = {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}
    assert VERTEX.fault(400, (), json.dumps(partners).encode()).reason is Reason.CONTEXT_TOO_LONG
    googles = {"error": {"code": 404, "message": "Publisher Model `x` not found.", "status": "NOT_FOUND"}}
    found = VERTEX.fault(404, (), json.dumps([googles]).encode())
    assert (found.reason, found.named_by_caller) == (Reason.NOT_FOUND, False)


def test_anthropics_models_embed_nothing() -> None:
    call = a_call()
    embeddings = type(call)(
        **{name: getattr(call, name) for name in call.__struct_fields__} | {"endpoint": "embeddings"}
    )
    with pytest.raises(BadRequest):
        VERTEX.encode(embeddings, a_deployment(CLAUDE, "vertex"), CHAT, {})
