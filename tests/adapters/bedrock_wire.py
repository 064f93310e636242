"""What the tests of the Bedrock translation share: calls, deployments, what is sent, what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from adapters.bedrock import BedrockAdapter
from gateway.core.adapter import Decoder, Fetched, UpstreamRequest
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Deployment
from tests.adapters.anthropic_wire import CHAT, a_call
from tests.fakes.bedrock_wire import problem_of

ADAPTER = BedrockAdapter()
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OLD_SONNET = "us.anthropic.claude-3-7-sonnet-20250219-v1:0"
NEW_SONNET = "us.anthropic.claude-sonnet-5"
NOVA = "us.amazon.nova-2-lite-v1:0"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6"


def a_deployment(model: str = SONNET, **fields: Any) -> Deployment:
    return Deployment("bedrock", "aws", "bedrock", model, "bedrock", b"", (), **fields)


def encode(
    model: str = SONNET,
    strict: bool = False,
    fetched: Fetched | None = None,
    options: Mapping[str, str] | None = None,
    max_output: int | None = None,
    **body: Any,
) -> UpstreamRequest:
    deployment = a_deployment(model, options=options or {}, max_output=max_output)
    return ADAPTER.encode(a_call(body, strict), deployment, CHAT, fetched or {})


def sent(model: str = SONNET, **body: Any) -> dict[str, Any]:
    """Returns the body that goes to Bedrock, which its own service model and its rules must find nothing wrong with."""
    written: dict[str, Any] = json.loads(encode(model, **body).body)
    assert problem_of(model, written, streamed=bool(body.get("stream"))) is None
    return written


def warned(model: str = SONNET, **body: Any) -> str:
    return "\n".join(encode(model, **body).warnings)


def refused(model: str = SONNET, **body: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        encode(model, **body)
    return caught.value.param


def decoder(call: Call | None = None, model: str = SONNET) -> Decoder:
    return ADAPTER.decoder(call or a_call(), a_deployment(model), CHAT)


def streaming(model: str = SONNET, **body: Any) -> Decoder:
    return decoder(a_call(body, stream=True, stream_options={"include_usage": True}), model)
