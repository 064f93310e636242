"""OpenAI's wire, for OpenAI and every provider that speaks it.

A dialect that the provider speaks itself is relayed: a request goes on as it came, with the model's name spliced in
and a stream's usage asked for; an answer comes back as the provider's bytes. Any other is translated to chat
completions and back. What a provider wants otherwise is data (`Quirks`), never a branch on its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from adapters import _openai_media, _responses_relay
from adapters._blocks import Declarations
from adapters._openai_chat_decoders import ChatStream, ChatUnary
from adapters._openai_chat_request import encode_chat
from adapters._openai_fault import read_fault
from adapters._openai_messages import Cleaner
from adapters._openai_quirks import RESPONSES, Quirks
from adapters._openai_relay import StreamRelay, UnaryRelay
from gateway.core.adapter import Decoder, Fetch, Fetched, UpstreamRequest
from gateway.core.blocks import Json
from gateway.core.dialect import Dialect
from gateway.core.errors import BadRequest, UpstreamError
from gateway.core.types import Call, Deployment, Headers

__all__ = ["BASE_URL", "QUIRKS", "REASONERS", "Quirks", "Relay", "adapter"]

BASE_URL: Final = "https://api.openai.com/v1"

_CHAT: Final = b"/chat/completions"
_PATHS: Final[Mapping[str, bytes]] = {
    "chat": _CHAT,
    "responses": b"/responses",
    "completions": b"/completions",
    "embeddings": b"/embeddings",
}
_TRUE: Final = msgspec.Raw(b"true")
_USAGE_ASKED: Final = msgspec.Raw(b'{"include_usage":true}')

_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


class Relay:
    """An adapter for a provider that speaks OpenAI's wire."""

    def __init__(self, name: str, quirks: Quirks = Quirks()) -> None:  # noqa: B008 - frozen
        self.name = name
        self._quirks = quirks
        self._cleaner = Cleaner(quirks)
        self._special = frozenset(
            (*quirks.withheld, *quirks.dropped, *quirks.refused, *(source for source, _ in quirks.renames))
        )

    def authorize(self, credential: str) -> Headers:
        return ((b"authorization", b"Bearer " + credential.encode("latin-1")),) if credential else ()

    def needs(self, call: Call, deployment: Deployment) -> Sequence[Fetch]:
        return ()

    def encode(self, call: Call, deployment: Deployment, dialect: Dialect, fetched: Fetched) -> UpstreamRequest:
        """Splices a body of a dialect that is relayed, translates any other."""
        if call.dialect in self._quirks.relays:
            return self._splice(call, deployment)
        if call.dialect in _openai_media.PATHS:
            path = self.path(deployment, _openai_media.PATHS[call.dialect])
            return _openai_media.encode(call, path, self.model(deployment), self._quirks.withheld)
        return self._translate(call, deployment, dialect)

    def decoder(self, call: Call, deployment: Deployment, dialect: Dialect) -> Decoder:
        quirks = self._quirks
        if call.dialect in quirks.relays:
            return _relay(call, quirks)
        if call.dialect in _openai_media.PATHS:
            return _openai_media.decoder(call)

        def custom_tools() -> frozenset[str]:
            return frozenset(tool.name for tool in dialect.conversation(call).tools if tool.custom)

        form = ChatStream if call.stream else ChatUnary
        return form(dialect.writer(call, deployment.model), call.id, self.name, quirks, custom_tools)

    def fault(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        return read_fault(status, headers, body)

    def path(self, deployment: Deployment, endpoint: bytes) -> bytes:
        """Returns where an endpoint (`/chat/completions`) stands."""
        return deployment.base_path + endpoint

    def model(self, deployment: Deployment) -> str:
        """Returns the model's name as the provider wants it."""
        return deployment.model

    def _splice(self, call: Call, deployment: Deployment) -> UpstreamRequest:
        """Splices the model's name and the request for usage; every other member keeps its bytes and its place."""
        members = _decode_members(call.body)
        members["model"] = msgspec.Raw(_encode(self.model(deployment)))
        warnings: tuple[str, ...] = ()
        dirty = call.dialect == "chat" and self._cleaner.concerns(call.body)
        if dirty or not self._special.isdisjoint(members):
            declarations = Declarations(call.strict)
            if dirty and "messages" in members:
                members["messages"] = self._cleaner.clean(members["messages"], declarations)
            warnings = self._adjust(members, call.strict, declarations)
        if call.dialect == "responses":
            warnings += _responses_relay.without_sealed(members, call.strict)
        if call.stream and not call.include_usage and self._quirks.asks_usage:
            _ask_usage(members)
        return UpstreamRequest(self.path(deployment, _PATHS[call.dialect]), _encode(members), warnings=warnings)

    def _translate(self, call: Call, deployment: Deployment, dialect: Dialect) -> UpstreamRequest:
        declarations = Declarations(call.strict)
        body = encode_chat(call, dialect.conversation(call), deployment, self._quirks, declarations)
        body["model"] = self.model(deployment)
        warnings = self._adjust(body, call.strict, declarations)
        if call.stream and self._quirks.asks_usage:
            body["stream_options"] = {"include_usage": True}
        return UpstreamRequest(self.path(deployment, _CHAT), _encode(body), warnings=warnings)

    def _adjust(
        self, members: dict[str, msgspec.Raw] | dict[str, Json], strict: bool, declarations: Declarations
    ) -> tuple[str, ...]:
        """Applies the quirks to a request that they concern; returns what the caller is told."""
        quirks = self._quirks
        withheld = []
        for name in [name for name in members if name in self._special]:
            if name in quirks.withheld:
                if strict:
                    raise BadRequest(f"{name!r} is set by the gateway, not by its callers", param=name)
                withheld.append(f"{name}: not passed on, the gateway sets it")
                del members[name]
            elif name in quirks.refused:
                value = members.pop(name)
                if value is not None and value != _NULL:
                    declarations.declare(name, "the provider does not take it, left out")
            elif name in quirks.dropped:
                del members[name]
        for source, target in quirks.renames:
            if source in members:
                members[target] = members.pop(source)
        return (*withheld, *declarations.warnings)


_NULL: Final = msgspec.Raw(b"null")


def _relay(call: Call, quirks: Quirks) -> Decoder:
    """Returns what hands an answer on as it comes, in a dialect that the provider speaks itself."""
    if call.dialect == "responses":
        return _responses_relay.StreamRelay() if call.stream else _responses_relay.UnaryRelay()
    return StreamRelay(call, quirks.ends_unsaid) if call.stream else UnaryRelay()


def _ask_usage(members: dict[str, msgspec.Raw]) -> None:
    """Sets `stream_options.include_usage`, keeping the caller's other options."""
    given = members.get("stream_options")
    if given is None or bytes(given) == b"null":
        members["stream_options"] = _USAGE_ASKED
        return
    options = _decode_members(given)
    options["include_usage"] = _TRUE
    members["stream_options"] = msgspec.Raw(_encode(options))


# Models that take `reasoning_effort`, and of temperature and top_p nothing but 1
# (https://platform.openai.com/docs/guides/reasoning, 2026-11). Their chat variants are not among them.
REASONERS: Final = r"(?:^|[/:.])(?:o[1-9]|gpt-[5-9](?!\d)(?!.*-chat)|gpt-oss|codex)"

# Those of them that take the effort "none": from gpt-5.1 on, and of these no codex and no pro
# (https://learn.microsoft.com/en-us/javascript/api/@azure/ai-projects/reasoningeffort and
# https://developers.openai.com/api/docs/models/gpt-5.3-codex, 2026-11).
_RESTS: Final = r"gpt-(?:5\.[1-9]|[6-9])(?!.*(?:codex|pro))"

QUIRKS: Final = Quirks(
    relays=RESPONSES, replays=(), thinking="effort", reasoners=REASONERS, rests=_RESTS, custom_tools=True
)


def adapter() -> Relay:
    """Returns the adapter of OpenAI itself."""
    return Relay("openai", QUIRKS)
