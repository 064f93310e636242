"""Vertex AI: Gemini through `generateContent`, Anthropic's models through `rawPredict`.

Sources (2026-11): https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference,
…/partner-models/claude/use-claude, …/start/express-mode.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from adapters._anthropic_decoders import StreamDecoder, UnaryDecoder
from adapters._anthropic_errors import fault as anthropic_fault
from adapters._anthropic_model import model_of
from adapters._anthropic_relay import CountRelay, StreamRelay, UnaryRelay
from adapters._anthropic_request import encode_request
from adapters._anthropic_tools import Answering, answering
from adapters._blocks import UNREADABLE
from adapters._gemini_embeddings import at_vertex
from adapters._gemini_errors import fault
from adapters._gemini_request import encode_body, encode_json
from adapters._vertex_relay import VERSION, relayed
from adapters.gemini import decoder, needed, verb
from gateway.core.adapter import Decoder, Fetch, Fetched, UpstreamRequest
from gateway.core.blocks import Block, Conversation, Document, Image, ToolResult
from gateway.core.dialect import Dialect
from gateway.core.errors import BadRequest, UpstreamError
from gateway.core.types import Call, Deployment, Headers

GLOBAL: Final = "global"

# Locations of several regions have hosts of their own: google-genai's `_MULTI_REGIONAL_LOCATIONS`, 2026-11.
_MULTI_REGIONS: Final = frozenset({"us", "eu"})

# The versions that recorded clients call: Google's SDK the beta for Gemini, Anthropic's the first for its own.
_GEMINI_BASE: Final = "/v1beta1"
_PARTNER_BASE: Final = "/v1"

_ANTHROPIC: Final = "anthropic"
_GOOGLE: Final = "google"

_RELAYED: Final = "messages"  # the callers' dialect that is the wire of Anthropic's models
_COUNTER: Final = "count-tokens"  # stands where a model's name does

# The fields of a request to count: https://docs.cloud.google.com/vertex-ai/docs/reference/rest (countTokens, 2026-11).
_COUNTED: Final = frozenset({"contents", "systemInstruction", "tools", "generationConfig"})


def base_url(region: str | None) -> str:
    """Returns the address that serves a region."""
    if region is None or region == GLOBAL:
        return "https://aiplatform.googleapis.com"
    if region in _MULTI_REGIONS:
        return f"https://aiplatform.{region}.rep.googleapis.com"
    return f"https://{region}-aiplatform.googleapis.com"


class VertexAdapter:
    """Translates to Vertex, and back; a model's name says whose wire its publisher speaks."""

    name = "vertex"

    def authorize(self, credential: str) -> Headers:
        """Returns the key of express mode; other identities sign."""
        return ((b"x-goog-api-key", credential.encode()),)

    def needs(self, call: Call, deployment: Deployment) -> Sequence[Fetch]:
        """Returns the media that only their URL is given of: Anthropic's models take none here, Gemini few."""
        return needed(call)

    def encode(self, call: Call, deployment: Deployment, dialect: Dialect, fetched: Fetched) -> UpstreamRequest:
        """Writes the request; raises BadRequest naming the field that the model cannot express."""
        publisher, model = _published(deployment)
        if publisher == _ANTHROPIC and call.dialect == _RELAYED:
            base = _base(deployment, publisher, _COUNTER if call.counting else model, _PARTNER_BASE)
            return relayed(call, base, model, fetched)
        if publisher == _ANTHROPIC:
            return self._messages(call, deployment, dialect, fetched, model)
        base = _base(deployment, publisher, model, _GEMINI_BASE)
        if call.endpoint == "embeddings":
            embedding = at_vertex(call, dialect.embedding_request(call), model)
            return UpstreamRequest(
                f"{base}:{embedding.verb}".encode(), encode_json(embedding.body), warnings=embedding.warnings
            )
        body, warnings = encode_body(call, dialect.conversation(call), deployment, self.name, fetched)
        if call.counting:
            body = {name: value for name, value in body.items() if name in _COUNTED}
        return UpstreamRequest(f"{base}:{verb(call)}".encode(), encode_json(body), warnings=warnings)

    def decoder(self, call: Call, deployment: Deployment, dialect: Dialect) -> Decoder:
        if _published(deployment)[0] != _ANTHROPIC:
            return decoder(call, deployment, dialect, self.name)
        if call.dialect == _RELAYED:
            return CountRelay() if call.counting else StreamRelay() if call.stream else UnaryRelay()

        def undo() -> Answering:
            return answering(dialect.conversation(call), model_of(deployment))

        writer = dialect.writer(call, deployment.model)
        return StreamDecoder(writer, undo) if call.stream else UnaryDecoder(writer, undo)

    def fault(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """Reads an error of Google's, or of the partner whose model it was."""
        return anthropic_fault(status, headers, body) if _is_anthropics(body) else fault(status, headers, body)

    def _messages(
        self, call: Call, deployment: Deployment, dialect: Dialect, fetched: Fetched, model: str
    ) -> UpstreamRequest:
        """Writes Anthropic's request with its model in the path and its version in the body."""
        if call.endpoint != "chat":
            raise BadRequest(f"Anthropic has no {call.endpoint}", param="model")
        conversation = _inlined(dialect.conversation(call), fetched)
        request = encode_request(call, conversation, deployment)
        body = msgspec.json.decode(request.body)
        del body["model"]
        body["anthropic_version"] = VERSION
        method = "streamRawPredict" if call.stream else "rawPredict"
        path = f"{_base(deployment, _ANTHROPIC, model, _PARTNER_BASE)}:{method}".encode()
        return msgspec.structs.replace(request, path=path, body=encode_json(body))


def _published(deployment: Deployment) -> tuple[str, str]:
    """Returns the publisher and the model's bare name; a tuned model's endpoint is Google's."""
    model = deployment.model
    if model.startswith("publishers/"):
        _, publisher, _, bare = (*model.split("/", 3), "", "")[:4]
        return publisher, bare
    publisher, slash, bare = model.partition("/")
    if slash and publisher in (_GOOGLE, _ANTHROPIC):
        return publisher, bare
    return (_ANTHROPIC if model.startswith("claude") else _GOOGLE), model


def _base(deployment: Deployment, publisher: str, model: str, version: str) -> str:
    """Returns the resource's path; without a project it is express mode's."""
    options: Mapping[str, str] = deployment.options
    prefix = deployment.base_path.decode() or version
    project = options.get("project")
    if project is not None:
        prefix += f"/projects/{quote(project, safe=':')}/locations/{quote(options.get('region', GLOBAL), safe='')}"
    if model.startswith("endpoints/") or model.isdecimal():  # a tuned model, at an endpoint of the project's own
        return f"{prefix}/endpoints/{quote(model.removeprefix('endpoints/'), safe='')}"
    return f"{prefix}/publishers/{publisher}/models/{quote(model, safe='@:-._~')}"


def _is_anthropics(body: bytes) -> bool:
    try:
        decoded = msgspec.json.decode(body)
    except UNREADABLE:
        return False
    return isinstance(decoded, dict) and decoded.get("type") == "error"


# -- media for Anthropic's models ---------------------------------------------------------------------------------


def _inlined(conversation: Conversation, fetched: Fetched) -> Conversation:
    """Puts the bytes of media in the place of their URLs, as far as they were fetched."""
    if not fetched:
        return conversation
    messages = tuple(
        msgspec.structs.replace(message, content=tuple(_with_bytes(block, fetched) for block in message.content))
        for message in conversation.messages
    )
    return msgspec.structs.replace(conversation, messages=messages)


def _with_bytes(block: Block, fetched: Fetched) -> Block:
    if isinstance(block, ToolResult):
        content = tuple(_with_bytes(inner, fetched) for inner in block.content)
        return msgspec.structs.replace(block, content=content)
    if isinstance(block, Image | Document) and block.url is not None and block.url in fetched:
        media_type, content_bytes = fetched[block.url]
        data = base64.b64encode(content_bytes).decode()
        plain = media_type.partition(";")[0].strip().lower()
        return msgspec.structs.replace(block, url=None, data=data, media_type=plain)
    return block


def adapter() -> VertexAdapter:
    """Returns the adapter of Vertex AI."""
    return VertexAdapter()
