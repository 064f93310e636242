"""Azure OpenAI: where a call goes, with which name and key, and what its errors mean."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from adapters import azure
from adapters.dialects.chat import ChatDialect
from adapters.dialects.embeddings import EmbeddingsDialect
from gateway.core.errors import Reason
from gateway.core.types import Deployment

ADAPTER = azure.adapter()
CHAT = ChatDialect()
CALL = CHAT.parse("c", b'{"messages":[{"role":"user","content":"hi"}],"model":"x"}', ())


def place(base_path: bytes = b"", **options: str) -> Deployment:
    return Deployment("d", "azure", "azure", "gpt-4o", "azure", base_path, (), options=options)


def sent(deployment: Deployment) -> tuple[bytes, dict[str, Any]]:
    request = ADAPTER.encode(CALL, deployment, CHAT, {})
    return request.path, json.loads(request.body)


@pytest.mark.parametrize("base", [b"", b"/", b"/openai", b"/openai/v1", b"/openai/v1/"])
def test_a_resource_is_spoken_to_at_its_v1(base: bytes) -> None:
    path, body = sent(place(base))
    assert path == b"/openai/v1/chat/completions"
    assert body["model"] == "gpt-4o"


def test_a_resource_behind_a_path_of_ones_own_keeps_it() -> None:
    assert sent(place(b"/team/azure"))[0] == b"/team/azure/openai/v1/chat/completions"


def test_a_deployments_own_name_is_what_it_is_called_by() -> None:
    assert sent(place(deployment_name="prod gpt/4"))[1]["model"] == "prod gpt/4"
    path, _ = sent(place(b"/openai", api_version="2024-10-21", deployment_name="prod gpt/4"))
    assert path == b"/openai/deployments/prod%20gpt%2F4/chat/completions?api-version=2024-10-21"


def test_a_dated_api_has_its_version_in_the_query() -> None:
    assert sent(place(api_version="2024-10-21"))[0] == (
        b"/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    )
    assert sent(place(b"/models", api_version="2024-05-01-preview"))[0] == (
        b"/models/chat/completions?api-version=2024-05-01-preview"
    )
    assert ADAPTER.path(place(api_version="2025-04-01-preview"), b"/responses") == (
        b"/openai/responses?api-version=2025-04-01-preview"
    )


def test_embeddings_have_their_path() -> None:
    dialect = EmbeddingsDialect()
    request = ADAPTER.encode(dialect.parse("c", b'{"input":"a"}', ()), place(), dialect, {})
    assert request.path == b"/openai/v1/embeddings"


def test_a_key_has_a_header_of_its_own() -> None:
    assert ADAPTER.authorize("k") == ((b"api-key", b"k"),)
    assert ADAPTER.authorize("") == ()


FILTERED = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}},
    }
}


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, FILTERED, Reason.CONTENT_FILTERED),
        (
            401,
            {"error": {"code": "401", "message": "Access denied due to invalid subscription key."}},
            Reason.UNAUTHENTICATED,
        ),
        (401, {"statusCode": 401, "message": "Unauthorized. Access token is missing."}, Reason.UNAUTHENTICATED),
        (
            404,
            {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}},
            Reason.NOT_FOUND,
        ),
        (404, {"error": {"code": "404", "message": "Resource not found"}}, Reason.NOT_FOUND),
        (429, {"error": {"code": "429", "message": "Requests have exceeded call rate limit."}}, Reason.RATE_LIMITED),
        (400, {"error": {"code": "context_length_exceeded", "message": "too long"}}, Reason.CONTEXT_TOO_LONG),
        (503, {"error": {"code": "InternalServerError", "message": "m"}}, Reason.OVERLOADED),
    ],
)
def test_its_errors_have_their_reason(status: int, body: Any, reason: Reason) -> None:
    error = ADAPTER.fault(status, (), msgspec.json.encode(body))
    assert error.reason is reason
    if reason is Reason.CONTENT_FILTERED:
        assert (error.code, error.param) == ("content_filter", "prompt")


def test_its_429_is_waited_for_as_it_says() -> None:
    assert ADAPTER.fault(429, ((b"retry-after-ms", b"1500"), (b"retry-after", b"2")), b"{}").retry_after_s == 1.5
