"""vLLM: what callers may not set, and how its refusals read."""

from __future__ import annotations

import json

import msgspec
import pytest

from adapters import vllm
from adapters.dialects.chat import ChatDialect
from adapters.dialects.embeddings import EmbeddingsDialect
from gateway.core.errors import BadRequest, Reason, UpstreamError, unanswered
from gateway.core.types import Deployment, Pooled

ADAPTER = vllm.adapter()
CHAT = ChatDialect()
DEPLOYMENT = Deployment("pool", "vllm", "vllm", "llama", "vllm", b"/v1", ())
BODY = b'{"messages":[{}],"cache_salt":"theirs","priority":-9,"top_k":5,"kv_transfer_params":{},"request_id":"r"}'


def test_fields_through_which_a_caller_could_touch_another_are_withheld_and_declared() -> None:
    request = ADAPTER.encode(CHAT.parse("c", BODY, ()), DEPLOYMENT, CHAT, {})
    assert json.loads(request.body) == {"messages": [{}], "top_k": 5, "model": "llama"}
    assert [warning.partition(":")[0] for warning in request.warnings] == [
        "cache_salt",
        "priority",
        "kv_transfer_params",
        "request_id",
    ]


def test_a_strict_caller_is_refused_instead() -> None:
    call = CHAT.parse("c", BODY, ((b"x-headgate-strict", b"true"),))
    with pytest.raises(BadRequest) as caught:
        ADAPTER.encode(call, DEPLOYMENT, CHAT, {})
    assert caught.value.param == "cache_salt"


POOLED = Deployment("pool", "vllm", "vllm", "llama", "vllm", b"/v1", (), pooled=Pooled("prefix", b"key"))


def encoded(body: bytes, where: Deployment, **more: object) -> dict[str, object]:
    call = msgspec.structs.replace(CHAT.parse("c", body, ()), **more)  # type: ignore[arg-type]
    written: dict[str, object] = json.loads(ADAPTER.encode(call, where, CHAT, {}).body)
    return written


def test_a_tenants_salt_is_the_only_one_that_reaches_the_server() -> None:
    red, blue = (encoded(BODY, POOLED, tenant=tenant) for tenant in ("red", "blue"))
    assert red == {"messages": [{}], "top_k": 5, "model": "llama", "cache_salt": POOLED.pooled.salt("red")}
    assert red["cache_salt"] != blue["cache_salt"]


def test_where_tenants_share_prefixes_there_is_no_salt() -> None:
    shared = msgspec.structs.replace(POOLED, pooled=Pooled("prefix"))
    assert "cache_salt" not in encoded(BODY, shared, tenant="red")


def test_embeddings_are_not_salted() -> None:
    request = ADAPTER.encode(EmbeddingsDialect().parse("c", b'{"input":"x"}', ()), POOLED, EmbeddingsDialect(), {})
    assert json.loads(request.body) == {"input": "x", "model": "llama"}


def test_a_stream_is_asked_for_its_usage_and_salted_too() -> None:
    written = encoded(b'{"messages":[{}],"stream":true}', POOLED, tenant="red")
    assert written["stream_options"] == {"include_usage": True}
    assert written["cache_salt"] == POOLED.pooled.salt("red")


def test_a_template_is_a_program_and_no_callers_matter() -> None:
    request = ADAPTER.encode(CHAT.parse("c", b'{"messages":[{}],"chat_template":"{{1}}"}', ()), DEPLOYMENT, CHAT, {})
    assert "chat_template" not in json.loads(request.body)
    assert request.warnings


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (503, {"error": {"message": "try again later or on a different instance", "code": 503}}, Reason.QUEUE_FULL),
        (503, {"error": {"message": "full", "type": "ServiceUnavailableError", "code": 503}}, Reason.QUEUE_FULL),
        (503, {"message": "no healthy upstream"}, Reason.OVERLOADED),
        (500, {"error": {"message": "full", "type": "ServiceUnavailableError", "code": 500}}, Reason.SERVER_ERROR),
        (
            400,
            {"object": "error", "message": "This model's maximum context length is 1024 tokens.", "code": 400},
            Reason.CONTEXT_TOO_LONG,
        ),
        (404, {"error": {"message": "The model `x` does not exist.", "type": "NotFoundError"}}, Reason.NOT_FOUND),
        (400, {"error": {"message": "bad", "type": "BadRequestError", "code": 400}}, Reason.BAD_REQUEST),
        (401, {"error": "Unauthorized"}, Reason.UNAUTHENTICATED),
    ],
)
def test_a_refusal_of_vllm_has_its_reason(status: int, body: dict[str, object], reason: Reason) -> None:
    assert ADAPTER.fault(status, (), json.dumps(body).encode()).reason is reason


def test_a_status_that_stands_for_a_code_does_not_hide_ours() -> None:
    said = b'{"error":{"message":"maximum context length is 8 tokens","type":"BadRequestError","param":"x","code":400}}'
    answer = unanswered(ADAPTER.fault(400, (), said), "pool")
    assert (answer.status, answer.code, answer.param) == (400, "context_length_exceeded", "x")


def test_a_request_that_the_engine_aborted_before_content_may_go_elsewhere() -> None:
    decoder = ADAPTER.decoder(CHAT.parse("c", b'{"messages":[{}],"stream":true}', ()), DEPLOYMENT, CHAT)
    list(decoder.feed(b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'))
    with pytest.raises(UpstreamError) as caught:
        list(decoder.feed(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\n'))
    assert caught.value.reason is Reason.ABORTED


def test_keep_alive_comments_pass_and_are_no_progress() -> None:
    decoder = ADAPTER.decoder(CHAT.parse("c", b'{"messages":[{}],"stream":true}', ()), DEPLOYMENT, CHAT)
    assert list(decoder.feed(b": keep-alive\n\n")) == [b": keep-alive\n\n"]
    assert not decoder.started
    assert decoder.progress == 0


EXACT = msgspec.structs.replace(DEPLOYMENT, options={"exact_usage": "true"})
STREAMED = CHAT.parse("c", b'{"messages":[{}],"stream":true}', ())


def counted(text: str, tokens: int, finish: str = "null") -> bytes:
    return (
        b'data: {"id":"1","choices":[{"index":0,"delta":{"content":%b},"finish_reason":%b}],"usage":{"prompt_tokens":7,'
        b'"total_tokens":%d,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":4}}}\n\n'
        % (json.dumps(text).encode(), finish.encode(), 7 + tokens, tokens)
    )


def test_a_stream_tells_of_its_usage_in_each_chunk_where_it_is_to_be_exact() -> None:
    request = ADAPTER.encode(STREAMED, EXACT, CHAT, {})
    assert json.loads(request.body)["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    decoder = ADAPTER.decoder(STREAMED, EXACT, CHAT)
    heard = b"".join(decoder.feed(counted("a", 1)))
    assert heard == b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
    assert decoder.usage is not None
    assert (decoder.usage.output_tokens, decoder.usage.cached_input, decoder.usage.fresh_input) == (1, 4, 3)
    list(decoder.feed(counted("b", 2) + counted("c", 3)))
    assert decoder.usage.output_tokens == 3


def test_what_a_caller_wrote_that_looks_like_usage_stays() -> None:
    decoder = ADAPTER.decoder(STREAMED, EXACT, CHAT)
    said = ',"usage":{"prompt_tokens":1}}\n'
    (heard,) = decoder.feed(counted(said, 1))
    assert json.loads(heard[6:])["choices"][0]["delta"]["content"] == said
    assert "usage" not in json.loads(heard[6:])


@pytest.mark.parametrize("asked", [True, False])
def test_the_last_word_of_usage_goes_to_those_who_asked_for_it(asked: bool) -> None:
    options = b',"stream_options":{"include_usage":true}' if asked else b""
    call = CHAT.parse("c", b'{"messages":[{}],"stream":true%b}' % options, ())
    decoder = ADAPTER.decoder(call, EXACT, CHAT)
    last = b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2}}\n\n'
    heard = b"".join(decoder.feed(counted("a", 1) + counted("", 2, '"stop"') + last + b"data: [DONE]\n\n"))
    assert decoder.complete
    assert heard.count(b'"usage"') == asked
    assert (last in heard) is asked
    assert decoder.usage is not None
    assert decoder.usage.output_tokens == 2


def test_a_caller_that_asks_for_it_by_itself_gets_it() -> None:
    body = b'{"messages":[{}],"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}'
    call = CHAT.parse("c", body, ())
    decoder = ADAPTER.decoder(call, EXACT, CHAT)
    assert b"".join(decoder.feed(counted("a", 1))) == counted("a", 1)
    assert decoder.usage is not None
