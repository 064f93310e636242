"""Errors of Bedrock, each with one reason: by their type, their status, their words; and usage in buckets."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._bedrock_usage import read_usage
from gateway.core.errors import Reason, UpstreamError
from tests.adapters.bedrock_wire import ADAPTER

SUFFIX = ":http://internal.amazon.com/coral/com.amazon.bedrock/"


def failed(status: int, kind: str | None, message: str = "no", **headers: str) -> UpstreamError:
    told = {} if kind is None else {"x-amzn-errortype": kind}
    fields = {**told, **{name.replace("_", "-"): value for name, value in headers.items()}}
    encoded = tuple((name.encode(), value.encode()) for name, value in fields.items())
    return ADAPTER.fault(status, encoded, json.dumps({"message": message}).encode())


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        ("AccessDeniedException", 403, Reason.UNAUTHENTICATED),
        ("ExpiredTokenException", 403, Reason.UNAUTHENTICATED),
        ("UnrecognizedClientException", 403, Reason.UNAUTHENTICATED),
        ("InvalidSignatureException", 403, Reason.UNAUTHENTICATED),
        ("MissingAuthenticationTokenException", 403, Reason.UNAUTHENTICATED),
        ("ThrottlingException", 429, Reason.RATE_LIMITED),
        ("TooManyRequestsException", 429, Reason.RATE_LIMITED),
        ("ServiceQuotaExceededException", 400, Reason.RATE_LIMITED),
        ("ModelNotReadyException", 429, Reason.OVERLOADED),
        ("ServiceUnavailableException", 503, Reason.OVERLOADED),
        ("ModelTimeoutException", 408, Reason.TIMEOUT),
        ("ModelErrorException", 424, Reason.SERVER_ERROR),
        ("ModelStreamErrorException", 424, Reason.SERVER_ERROR),
        ("InternalServerException", 500, Reason.SERVER_ERROR),
        ("InternalFailure", 500, Reason.SERVER_ERROR),
        ("ConflictException", 400, Reason.SERVER_ERROR),
        ("ResourceNotFoundException", 404, Reason.NOT_FOUND),
        ("UnknownOperationException", 404, Reason.NOT_FOUND),
        ("ValidationException", 400, Reason.BAD_REQUEST),
        ("SerializationException", 400, Reason.BAD_REQUEST),
    ],
)
def test_every_type_has_its_reason(kind: str, status: int, reason: Reason) -> None:
    failure = failed(status, kind + SUFFIX)
    assert (failure.reason, failure.status) == (reason, status)
    body = json.dumps({"__type": f"com.amazon.bedrock#{kind}", "Message": "no"}).encode()
    assert ADAPTER.fault(status, (), body).reason is reason


def test_no_error_of_the_service_model_is_unknown() -> None:
    model = botocore.session.Session().get_service_model("bedrock-runtime")
    kinds = {shape.name for name in model.operation_names for shape in model.operation_model(name).error_shapes}
    assert {"ThrottlingException", "ModelErrorException"} <= kinds
    odd = 599  # a status that tells nothing
    known = {kind: failed(odd, kind).reason for kind in kinds}
    assert {kind for kind, reason in known.items() if reason is Reason.SERVER_ERROR} == {
        "InternalServerException",
        "ModelErrorException",
        "ConflictException",
    } & kinds | ({"ModelStreamErrorException"} & kinds)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Input is too long for requested model.", Reason.CONTEXT_TOO_LONG),
        ("The model returned the following errors: prompt is too long: 9 tokens > 8 maximum", Reason.CONTEXT_TOO_LONG),
        (
            "The model returned the following errors: Output blocked by content filtering policy",
            Reason.CONTENT_FILTERED,
        ),
        (
            "Invocation of model ID x with on-demand throughput isn’t supported. Retry your request with the ID or ARN "
            "of an inference profile that contains this model.",
            Reason.NOT_FOUND,
        ),
        ("The provided model identifier is invalid.", Reason.NOT_FOUND),
        ("messages.2: too short", Reason.BAD_REQUEST),
    ],
)
def test_the_words_of_a_400_tell_what_its_type_does_not(message: str, reason: Reason) -> None:
    for kind in ("ValidationException", None):
        failure = failed(400, kind, message)
        assert (failure.reason, failure.message) == (reason, message)
        assert failure.code == ("context_length_exceeded" if reason is Reason.CONTEXT_TOO_LONG else None)
        assert not failure.named_by_caller


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.UNAUTHENTICATED),
        (403, Reason.UNAUTHENTICATED),
        (404, Reason.NOT_FOUND),
        (418, Reason.BAD_REQUEST),
        (429, Reason.RATE_LIMITED),
        (500, Reason.SERVER_ERROR),
        (502, Reason.SERVER_ERROR),
        (503, Reason.OVERLOADED),
        (504, Reason.TIMEOUT),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message": 3}', b'{"message": "no"}'])
def test_without_a_type_the_status_decides(status: int, reason: Reason, body: bytes) -> None:
    failure = ADAPTER.fault(status, (), body)
    assert failure.reason is reason
    assert failure.message


def test_a_throttled_call_waits_as_long_as_it_is_told() -> None:
    assert failed(429, "ThrottlingException", retry_after="7").retry_after_s == 7
    assert failed(429, "ThrottlingException", "Too many requests, please wait").retry_after_s is None


# -- usage --------------------------------------------------------------------------------------------------------


def test_cache_writes_are_split_by_their_time_to_live() -> None:
    used = read_usage(
        {
            "inputTokens": 3,
            "outputTokens": 5,
            "cacheReadInputTokens": 7,
            "cacheWriteInputTokens": 30,
            "totalTokens": 45,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 20}, {"ttl": "5m", "inputTokens": 10}],
        },
        {"type": "priority"},
    )
    buckets = (used.fresh_input, used.cached_input, used.cache_write_5m, used.cache_write_1h, used.output_text)
    assert buckets == (3, 7, 10, 20, 5)
    assert (used.input_tokens, used.output_tokens, used.suspect, used.service_tier) == (40, 5, False, "priority")
    assert json.loads(used.raw)["totalTokens"] == 45


@pytest.mark.parametrize(
    "usage",
    [
        {"inputTokens": -1, "outputTokens": 1},
        {"inputTokens": "1", "outputTokens": 1},
        {"inputTokens": 1, "outputTokens": 1, "totalTokens": 3},
        {"inputTokens": 1, "cacheWriteInputTokens": 5, "cacheDetails": [{"ttl": "1h", "inputTokens": 6}]},
        {"inputTokens": 1, "cacheWriteInputTokens": 5, "cacheDetails": [{"ttl": "5m", "inputTokens": 4}]},
    ],
)
def test_usage_that_contradicts_itself_is_suspect_and_never_negative(usage: dict[str, Any]) -> None:
    used = read_usage(usage, None)
    assert used.suspect
    assert min(used.fresh_input, used.cache_write_5m, used.cache_write_1h) >= 0


counts = st.integers(0, 10**9)


@given(counts, counts, counts, counts, counts)
def test_each_token_stands_in_one_bucket(fresh: int, output: int, read: int, five: int, hour: int) -> None:
    used = read_usage(
        {
            "inputTokens": fresh,
            "outputTokens": output,
            "cacheReadInputTokens": read,
            "cacheWriteInputTokens": five + hour,
            "cacheDetails": [{"ttl": "1h", "inputTokens": hour}, {"ttl": "5m", "inputTokens": five}],
            "totalTokens": fresh + output + read + five + hour,
        },
        None,
    )
    assert not used.suspect
    assert used.input_tokens + used.output_tokens == fresh + output + read + five + hour
    assert (used.cache_write_5m, used.cache_write_1h) == (five, hour)
