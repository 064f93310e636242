"""Errors of Google: recorded ones and those that nobody recorded, as one reason each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters._gemini_errors import fault, in_band
from gateway.core.errors import Reason
from tests.adapters.anthropic_wire import corpus
from tests.adapters.gemini_wire import GEMINI, VERTEX

RPC = "type.googleapis.com/google.rpc."

# What each recorded error is, found by hand.
RECORDED = {
    "gemini.generate-0425664b31": (Reason.RATE_LIMITED, 34.4),
    "gemini.generate-2242d4fbfb": (Reason.NOT_FOUND, None),
    "gemini.generate-3f225cac39": (Reason.RATE_LIMITED, 48.0),
    "gemini.generate-46c0a5b17b": (Reason.UNAUTHENTICATED, None),
    "gemini.generate-4d65b6f768": (Reason.NOT_FOUND, None),
    "gemini.generate-6cc647cf59": (Reason.NOT_FOUND, None),
    "gemini.generate-cb6c9fb406": (Reason.UNAUTHENTICATED, None),
    "gemini.generate-ccab604271": (Reason.NOT_FOUND, None),
    "gemini.generate.stream-24dc8646c6": (Reason.NOT_FOUND, None),
    "gemini.generate.stream-4c38d5854d": (Reason.BAD_REQUEST, None),
    "gemini.generate.stream-502ba32afa": (Reason.UNAUTHENTICATED, None),
    "gemini.generate.stream-76d8ed2811": (Reason.NOT_FOUND, None),
    "vertex.generate-77f456bc25": (Reason.UNAUTHENTICATED, None),  # the place is not served
    "vertex.generate-a24acc3a5f": (Reason.NOT_FOUND, None),
    "vertex.generate-c0c3fe6b35": (Reason.BAD_REQUEST, None),
    "vertex.generate-c5a743641a": (Reason.UNAUTHENTICATED, None),
    "vertex.generate-d2f1fda081": (Reason.UNAUTHENTICATED, None),
    "vertex.generate-d55736e153": (Reason.BAD_REQUEST, None),
    "vertex.generate-ec85bc09f6": (Reason.RATE_LIMITED, None),
    "vertex.generate-f7e728c8b8": (Reason.BAD_REQUEST, None),
    "vertex.generate.stream-14c5763f0f": (Reason.BAD_REQUEST, None),
    "vertex.generate.stream-3d3b053411": (Reason.NOT_FOUND, None),
    "vertex.generate.stream-c3e5de1e3c": (Reason.UNAUTHENTICATED, None),
}
ERRORS = [
    record
    for record in corpus("errors")
    if record.values[0] is None
    or (record.values[0]["provider"] in ("gemini", "vertex") and record.values[0]["surface"] == "generate")
]


@pytest.mark.parametrize("record", ERRORS)
def test_a_recorded_error_has_its_reason(record: Any) -> None:
    response = record["response"]
    body = response["sse"].encode() if response["format"] == "sse" else json.dumps(response["body"]).encode()
    headers = tuple((name.encode(), value.encode()) for name, value in response["headers"].items())
    for adapter in (GEMINI, VERTEX):
        found = adapter.fault(response["status"], headers, body)
        assert (found.reason, found.retry_after_s) == RECORDED[record["id"]]
        assert not found.named_by_caller
        assert found.message


def body(status: str, message: str = "m", code: int = 0, *details: dict[str, Any]) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "status": status, "details": details}}).encode()


@pytest.mark.parametrize(
    ("status", "told", "reason"),
    [
        (500, body("INTERNAL"), Reason.SERVER_ERROR),
        (503, body("UNAVAILABLE", "The model is overloaded."), Reason.OVERLOADED),
        (504, body("DEADLINE_EXCEEDED"), Reason.TIMEOUT),
        (499, body("CANCELLED"), Reason.ABORTED),
        (408, b"", Reason.ABORTED),
        (409, body("ABORTED"), Reason.ABORTED),
        (401, body("UNAUTHENTICATED", "invalid authentication credentials"), Reason.UNAUTHENTICATED),
        (402, b"<html>", Reason.OUT_OF_CREDIT),
        (413, b"<html>too large</html>", Reason.BAD_REQUEST),
        (501, body("UNIMPLEMENTED"), Reason.SERVER_ERROR),
        (302, b"", Reason.SERVER_ERROR),
        (
            400,
            body(
                "INVALID_ARGUMENT",
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            ),
            Reason.CONTEXT_TOO_LONG,
        ),
        (400, body("INVALID_ARGUMENT", "API key expired. Please renew the API key."), Reason.UNAUTHENTICATED),
        (400, body("FAILED_PRECONDITION", "User location is not supported for the API use."), Reason.UNAUTHENTICATED),
        (400, body("FAILED_PRECONDITION", "Please enable billing on project 1"), Reason.OUT_OF_CREDIT),
        (
            403,
            body("PERMISSION_DENIED", "m", 403, {"@type": RPC + "ErrorInfo", "reason": "BILLING_DISABLED"}),
            Reason.OUT_OF_CREDIT,
        ),
        (429, body("RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), Reason.OUT_OF_CREDIT),
        (
            429,
            body(
                "RESOURCE_EXHAUSTED",
                "m",
                429,
                {
                    "@type": RPC + "QuotaFailure",
                    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
                },
            ),
            Reason.OUT_OF_CREDIT,
        ),
        (429, body("RESOURCE_EXHAUSTED", "Quota exceeded for metric: x, limit: 0, model: y"), Reason.OUT_OF_CREDIT),
        (429, body("RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."), Reason.RATE_LIMITED),
        (429, b"[" + body("RESOURCE_EXHAUSTED") + b"]", Reason.RATE_LIMITED),
        (400, b"\xff", Reason.BAD_REQUEST),
    ],
)
def test_an_error_has_one_reason(status: int, told: bytes, reason: Reason) -> None:
    assert fault(status, (), told).reason is reason


def test_a_wait_is_googles_own_or_the_headers_or_in_words() -> None:
    info = {"@type": RPC + "RetryInfo", "retryDelay": "7.25s"}
    assert fault(429, ((b"retry-after", b"3"),), body("RESOURCE_EXHAUSTED", "m", 429, info)).retry_after_s == 7.25
    assert fault(429, ((b"retry-after", b"3"),), body("RESOURCE_EXHAUSTED")).retry_after_s == 3
    assert fault(429, (), body("RESOURCE_EXHAUSTED", "Please retry in 48.9s.")).retry_after_s == 48.9
    daily = {"@type": RPC + "QuotaFailure", "violations": [{"quotaId": "RequestsPerDay"}]}
    assert fault(429, (), body("RESOURCE_EXHAUSTED", "m", 429, info, daily)).retry_after_s is None


@pytest.mark.parametrize(
    "message",
    [
        "You do not have permission to access the File abc or it may not exist.",
        "CachedContent not found (or permission denied)",
    ],
)
def test_what_the_caller_named_is_the_callers_matter(message: str) -> None:
    found = fault(403, (), body("PERMISSION_DENIED", message))
    assert (found.reason, found.named_by_caller) == (Reason.NOT_FOUND, True)


def test_an_error_within_an_answer_says_its_own_status() -> None:
    found = in_band({"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"})
    assert (found.reason, found.status) == (Reason.RATE_LIMITED, 429)
    assert in_band(None).reason is Reason.SERVER_ERROR
    assert in_band({"status": "INVALID_ARGUMENT"}).reason is Reason.BAD_REQUEST
