"""Each of Anthropic's errors has one reason; waits and the caller's own faults are passed on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.errors import CALLERS_FAULT, Reason, UpstreamError, unanswered
from tests.adapters.anthropic_wire import ADAPTER, SHARED


def fault(status: int, kind: str = "invalid_request_error", message: str = "no", **headers: str) -> UpstreamError:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}).encode()
    sent = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return ADAPTER.fault(status, sent, body)


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, "invalid_request_error", Reason.BAD_REQUEST),
        (401, "authentication_error", Reason.UNAUTHENTICATED),
        (402, "billing_error", Reason.OUT_OF_CREDIT),
        (403, "permission_error", Reason.UNAUTHENTICATED),
        (404, "not_found_error", Reason.NOT_FOUND),
        (413, "request_too_large", Reason.BAD_REQUEST),
        (422, "invalid_request_error", Reason.BAD_REQUEST),
        (429, "rate_limit_error", Reason.RATE_LIMITED),
        (500, "api_error", Reason.SERVER_ERROR),
        (502, "api_error", Reason.SERVER_ERROR),
        (503, "api_error", Reason.OVERLOADED),
        (504, "timeout_error", Reason.TIMEOUT),
        (529, "overloaded_error", Reason.OVERLOADED),
        (418, "unheard_of", Reason.BAD_REQUEST),
        (301, "unheard_of", Reason.SERVER_ERROR),
    ],
)
def test_each_error_has_its_reason(status: int, kind: str, reason: Reason) -> None:
    error = fault(status, kind)
    assert error.reason is reason
    assert error.status == status
    assert ADAPTER.fault(status, (), b"<html>").reason is reason


@pytest.mark.parametrize(
    ("message", "reason", "code"),
    [
        ("Your credit balance is too low to access the Anthropic API.", Reason.OUT_OF_CREDIT, None),
        ("You have reached your specified API usage limits.", Reason.OUT_OF_CREDIT, None),
        ("prompt is too long: 210000 tokens > 200000 maximum", Reason.CONTEXT_TOO_LONG, "context_length_exceeded"),
        (
            "input length and `max_tokens` exceed context limit: 1 + 2 > 2",
            Reason.CONTEXT_TOO_LONG,
            "context_length_exceeded",
        ),
        ("Output blocked by content filtering policy", Reason.CONTENT_FILTERED, None),
        ("max_tokens: must be positive", Reason.BAD_REQUEST, None),
    ],
)
def test_a_400_is_told_apart_by_its_words(message: str, reason: Reason, code: str | None) -> None:
    error = fault(400, message=message)
    assert (error.reason, error.code) == (reason, code)


def test_the_callers_own_faults_reach_it_in_openais_shape() -> None:
    answer = unanswered(fault(400, message="prompt is too long: 3 > 2"), "claude")
    assert (answer.status, answer.type, answer.code) == (400, "invalid_request_error", "context_length_exceeded")
    assert answer.message == "prompt is too long: 3 > 2"


def test_an_unknown_model_is_ours_and_a_missing_file_the_callers() -> None:
    assert not fault(404, "not_found_error", "model: claude-none").named_by_caller
    assert not ADAPTER.fault(404, (), b"Not Found").named_by_caller
    assert fault(404, "not_found_error", "File not found: file_1").named_by_caller


def test_the_wait_is_read_from_the_headers() -> None:
    date = "Tue, 30 Dec 2025 01:22:22 GMT"
    assert fault(429, "rate_limit_error").retry_after_s is None
    assert fault(429, "rate_limit_error", retry_after="7").retry_after_s == 7
    assert fault(429, "rate_limit_error", retry_after_ms="1500", retry_after="7").retry_after_s == 1.5
    assert fault(429, "rate_limit_error", retry_after="Tue, 30 Dec 2025 01:22:32 GMT", date=date).retry_after_s == 10
    limits = {
        "anthropic_ratelimit_requests_remaining": "3",
        "anthropic_ratelimit_requests_reset": "2025-12-30T02:00:00Z",
        "anthropic_ratelimit_tokens_remaining": "0",
        "anthropic_ratelimit_tokens_reset": "2025-12-30T01:22:52Z",
    }
    assert fault(429, "rate_limit_error", date=date, **limits).retry_after_s == 30
    assert fault(429, "rate_limit_error", **limits).retry_after_s is None


def test_what_the_provider_says_of_retrying_is_kept() -> None:
    assert fault(400, x_should_retry="false").should_retry is False
    assert fault(529, "overloaded_error", x_should_retry="true").should_retry is True
    assert fault(529, "overloaded_error").should_retry is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"error":"x"}', b'{"error":{"type":1,"message":[]}}', b"[" * 100_000]
)
def test_a_body_of_any_kind_is_read_by_its_status(body: bytes) -> None:
    assert ADAPTER.fault(529, (), body).reason is Reason.OVERLOADED


def recorded() -> list[Any]:
    path = SHARED / "corpus" / "dev" / "errors.jsonl"
    if not path.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="no ../shared/corpus here"))]
    records = (json.loads(line) for line in path.read_text().splitlines())
    return [
        pytest.param(record, id=record["id"]) for record in records if record["id"].startswith("anthropic.messages")
    ]


@pytest.mark.corpus
@pytest.mark.parametrize("record", recorded())
def test_recorded_errors_have_the_reason_of_their_status(record: Any) -> None:
    response = record["response"]
    headers = tuple((name.encode(), value.encode()) for name, value in response["headers"].items())
    error = ADAPTER.fault(response["status"], headers, json.dumps(response["body"]).encode())
    expected = {400: Reason.BAD_REQUEST, 401: Reason.UNAUTHENTICATED, 404: Reason.NOT_FOUND}[response["status"]]
    assert error.reason is expected
    assert error.message == response["body"]["error"]["message"]
    assert error.should_retry is (False if "x-should-retry" in response["headers"] else None)
    assert (error.reason in CALLERS_FAULT) == (response["status"] == 400)
