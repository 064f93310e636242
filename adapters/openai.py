"""OpenAI's wire, relayed: chat completions, completions and embeddings, and every provider that speaks them.

A request goes on as it came, with the model's name spliced in and a stream's usage asked for; an answer comes back as
the provider's bytes. What a provider wants otherwise is data (`Quirks`), never a branch on its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from adapters import _responses_relay
from adapters._openai_fault import read_fault
from adapters._openai_relay import StreamRelay, UnaryRelay
from gateway.core.adapter import Decoder, Fetch, Fetched, UpstreamRequest
from gateway.core.dialect import Dialect
from gateway.core.errors import BadRequest, UpstreamError
from gateway.core.types import Call, Deployment, Headers

BASE_URL: Final = "https://api.openai.com/v1"

_PATHS: Final[Mapping[str, bytes]] = {
    "chat": b"/chat/completions",
    "responses": b"/responses",
    "completions": b"/completions",
    "embeddings": b"/embeddings",
}
_TRUE: Final = msgspec.Raw(b"true")
_USAGE_ASKED: Final = msgspec.Raw(b'{"include_usage":true}')

_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


class Quirks(msgspec.Struct, frozen=True):
    """How a provider's wire differs from OpenAI's.

    `asks_usage`: a stream's usage is asked for with `stream_options`. `renames` are fields that it knows by another
    name. `withheld` are fields that never reach it: their meaning is the gateway's, so a caller that set one is told,
    or refused where it is strict. `dropped` are fields whose absence changes nothing.
    """

    asks_usage: bool = True
    renames: tuple[tuple[str, str], ...] = ()
    withheld: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


class Relay:
    """An adapter for a provider that speaks OpenAI's wire."""

    def __init__(self, name: str, quirks: Quirks = Quirks()) -> None:  # noqa: B008 - frozen
        self.name = name
        self._asks_usage = quirks.asks_usage
        self._renames = quirks.renames
        self._withheld = frozenset(quirks.withheld)
        self._dropped = frozenset(quirks.dropped)
        self._special = self._withheld | self._dropped | {source for source, _ in quirks.renames}

    def authorize(self, credential: str) -> Headers:
        return ((b"authorization", b"Bearer " + credential.encode("latin-1")),) if credential else ()

    def needs(self, call: Call, deployment: Deployment) -> Sequence[Fetch]:
        return ()

    def encode(self, call: Call, deployment: Deployment, dialect: Dialect, fetched: Fetched) -> UpstreamRequest:
        """Splices the model's name and the request for usage; every other member keeps its bytes and its place."""
        path = _PATHS.get(call.dialect)
        if path is None:
            raise BadRequest(f"the provider of deployment {deployment.name!r} does not speak this endpoint")
        members = _decode_members(call.body)
        members["model"] = msgspec.Raw(_encode(deployment.model))
        warnings: tuple[str, ...] = ()
        if not self._special.isdisjoint(members):
            warnings = self._adjust(members, call.strict)
        if call.dialect == "responses":
            warnings += _responses_relay.without_sealed(members, call.strict)
        if call.stream and not call.include_usage and self._asks_usage:
            _ask_usage(members)
        return UpstreamRequest(deployment.base_path + path, _encode(members), warnings=warnings)

    def decoder(self, call: Call, deployment: Deployment, dialect: Dialect) -> Decoder:
        if call.dialect == "responses":
            return _responses_relay.StreamRelay() if call.stream else _responses_relay.UnaryRelay()
        return StreamRelay(call) if call.stream else UnaryRelay()

    def fault(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        return read_fault(status, headers, body)

    def _adjust(self, members: dict[str, msgspec.Raw], strict: bool) -> tuple[str, ...]:
        """Applies the quirks to a request that they concern; returns what the caller is told."""
        warnings = []
        for name in [name for name in members if name in self._special]:
            if name in self._withheld:
                if strict:
                    raise BadRequest(f"{name!r} is set by the gateway, not by its callers", param=name)
                warnings.append(f"{name}: not passed on, the gateway sets it")
                del members[name]
            elif name in self._dropped:
                del members[name]
        for source, target in self._renames:
            if source in members:
                members[target] = members.pop(source)
        return tuple(warnings)


def _ask_usage(members: dict[str, msgspec.Raw]) -> None:
    """Sets `stream_options.include_usage`, keeping the caller's other options."""
    given = members.get("stream_options")
    if given is None or bytes(given) == b"null":
        members["stream_options"] = _USAGE_ASKED
        return
    options = _decode_members(given)
    options["include_usage"] = _TRUE
    members["stream_options"] = msgspec.Raw(_encode(options))


def adapter() -> Relay:
    """Returns the adapter of OpenAI itself."""
    return Relay("openai")
