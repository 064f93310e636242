"""Cohere's errors, status by status, and the recorded ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Headers
from tests.adapters.anthropic_wire import corpus
from tests.adapters.cohere_wire import ADAPTER

RECORDED = [each for each in corpus("errors") if each.values[0] is None or each.values[0]["provider"] == "cohere"]


def fault(status: int, message: str = "no", headers: Headers = (), **more: Any) -> UpstreamError:
    return ADAPTER.fault(status, headers, json.dumps({"id": "a", "message": message, **more}).encode())


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, Reason.BAD_REQUEST),
        (401, Reason.UNAUTHENTICATED),
        (402, Reason.OUT_OF_CREDIT),
        (403, Reason.UNAUTHENTICATED),
        (404, Reason.NOT_FOUND),
        (422, Reason.BAD_REQUEST),
        (429, Reason.RATE_LIMITED),
        (498, Reason.CONTENT_FILTERED),
        (499, Reason.ABORTED),
        (500, Reason.SERVER_ERROR),
        (501, Reason.SERVER_ERROR),
        (503, Reason.OVERLOADED),
        (504, Reason.TIMEOUT),
    ],
)
def test_a_status_has_its_reason(status: int, reason: Reason) -> None:
    error = fault(status)
    assert (error.reason, error.message, error.status) == (reason, "no", status)


@pytest.mark.parametrize(
    ("message", "more", "reason"),
    [
        ("too many tokens: size limit exceeded by 25836 tokens.", {}, Reason.CONTEXT_TOO_LONG),
        ("anything", {"error_type": "TOO_MANY_TOKENS"}, Reason.CONTEXT_TOO_LONG),
        ("too many tokens: max tokens must be less than or equal to 4096, the maximum output", {}, Reason.BAD_REQUEST),
    ],
)
def test_a_prompt_that_is_too_long_is_told_from_a_bound_that_is(message: str, more: Any, reason: Reason) -> None:
    error = fault(400, message, **more)
    assert error.reason is reason
    assert error.code == ("context_length_exceeded" if reason is Reason.CONTEXT_TOO_LONG else None)


def test_a_trial_keys_month_is_no_matter_of_waiting() -> None:
    assert (
        fault(429, "You are using a Trial key, which is limited to 40 API calls / minute").reason is Reason.RATE_LIMITED
    )
    assert (
        fault(429, "You are using a Trial key, which is limited to 1000 API calls / month").reason
        is Reason.OUT_OF_CREDIT
    )


def test_a_wait_is_read_and_a_model_is_ours() -> None:
    assert fault(429, headers=((b"retry-after", b"7"),)).retry_after_s == 7
    assert not fault(404, "model 'x' not found").named_by_caller
    assert fault(404, "dataset x not found").named_by_caller


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message":5}', b"\xff"])
def test_a_body_that_is_not_coheres_is_read_by_its_status(body: bytes) -> None:
    error = ADAPTER.fault(502, (), body)
    assert (error.reason, error.message) == (Reason.SERVER_ERROR, "the provider answered 502")


@pytest.mark.parametrize("record", RECORDED)
def test_recorded_errors(record: Any) -> None:
    response = record["response"]
    headers = tuple((name.encode(), value.encode()) for name, value in response["headers"].items())
    error = ADAPTER.fault(response["status"], headers, json.dumps(response["body"]).encode())
    expected = {400: Reason.CONTEXT_TOO_LONG, 404: Reason.NOT_FOUND}
    assert error.reason is expected[response["status"]]
    assert error.message == response["body"]["message"]
