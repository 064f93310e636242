"""vLLM's OpenAI server, relayed.

Most of its refusals need no code of their own: a prompt that is too long says "maximum context length", a finish of
"abort" without content is an answer given up. A full queue is no failure of the replica's. What needs care beside is
what it would do for a caller that knows its extensions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from adapters._counts import CountDecoder
from adapters._openai_fault import tell
from adapters._openai_quirks import RESPONSES
from adapters._openai_relay import StreamRelay
from adapters._openai_usage import usage_in
from adapters.openai import Quirks, Relay
from gateway.core.adapter import Decoder, Fetched, UpstreamRequest
from gateway.core.dialect import Dialect
from gateway.core.errors import Reason, UpstreamError
from gateway.core.money import Usage
from gateway.core.types import Call, Deployment, Headers

_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode

# Extensions through which one caller could touch another
# (https://docs.vllm.ai/en/latest/serving/online_serving/openai_compatible_server/, 2026-11): `cache_salt` chooses
# whose prefix cache is shared, `priority` jumps the queue, `kv_transfer_params` reads and writes KV blocks of other
# requests, `request_id` collides with a running one; `chat_template` is a program that runs in the server.
_GATEWAYS_OWN: Final = ("cache_salt", "priority", "kv_transfer_params", "request_id", "chat_template")

# What has a cache of prefixes, and takes a salt for it; embeddings have none.
_SALTED: Final = (b"/chat/completions", b"/completions", b"/responses")

QUIRKS: Final = Quirks(
    relays=RESPONSES,
    withheld=_GATEWAYS_OWN,
    replays=("reasoning", "reasoning_content"),  # both are read from a history (recorded requests, 2026-07)
    takes=("top_k", "min_p", "repetition_penalty", "chat_template_kwargs", "structured_outputs"),
)

# How it says that it admits no more: as many requests wait as `--max-num-queued-reqs` allows, or prompt tokens as
# `--max-num-queued-tokens` does (vllm/exceptions.py of 0.33, 2026-11). A proxy's 503 says nothing of the kind.
_FULL: Final = frozenset({"QueueOverflowError", "MaxQueuedTokensError", "ServiceUnavailableError"})

# What of a chat request decides its prompt
# (https://docs.vllm.ai/en/latest/serving/online_serving/openai_compatible_server/, Tokenizer API, 2026-11).
_COUNTED: Final = frozenset({"model", "messages", "tools", "chat_template_kwargs"})


# The usage so far in a chunk of content, as vLLM writes it last; the chunk of usage alone has no choices.
_SO_FAR: Final = re.compile(rb'(?<!"choices":\[\]),"usage":\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}(?=\}\s)')


class CountedStream(StreamRelay):
    """A stream whose every chunk tells what has been used so far: known to the token wherever it ends.

    The newest is kept unread until somebody asks, and taken out of what the caller gets, who has not asked for it.
    """

    __slots__ = ("_newest",)

    def __init__(self, call: Call) -> None:
        self._newest = b""
        super().__init__(call)

    def feed(self, data: bytes) -> Iterable[bytes]:
        return [_SO_FAR.sub(b"", piece) for piece in super().feed(data)]

    @property
    def usage(self) -> Usage | None:
        """What has been used as of the newest chunk."""
        if self._newest:
            self._usage, self._newest = usage_in(self._newest) or self._usage, b""
        return self._usage

    def _note_usage(self, data: bytes) -> None:
        self._newest = data


class Vllm(Relay):
    """vLLM's server: a relay that keeps tenants apart in its cache of prefixes, and counts a prompt's tokens too.

    It counts with the model's own tokenizer and chat template.
    """

    def encode(self, call: Call, deployment: Deployment, dialect: Dialect, fetched: Fetched) -> UpstreamRequest:
        """Writes the request; a count's is the chat's, as far as the template sees it, at `/tokenize` of the server."""
        request = super().encode(call, deployment, dialect, fetched)
        if not call.counting:
            if _is_counted(call, deployment):
                request = msgspec.structs.replace(request, body=_counted(request.body))
            return self._salted(request, call, deployment)
        body = {name: value for name, value in _decode(request.body).items() if name in _COUNTED}
        path = deployment.base_path.removesuffix(b"/v1") + b"/tokenize"
        return msgspec.structs.replace(request, path=path, body=_encode(body))

    def decoder(self, call: Call, deployment: Deployment, dialect: Dialect) -> Decoder:
        if call.counting:
            return CountDecoder(dialect.writer(call, deployment.model), "count")
        if _is_counted(call, deployment):
            return CountedStream(call)
        return super().decoder(call, deployment, dialect)

    def fault(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        fault = super().fault(status, headers, body)
        if status == 503 and (fault.type in _FULL or "on a different instance" in tell(body).message):
            fault.reason = Reason.QUEUE_FULL
        return fault

    def _salted(self, request: UpstreamRequest, call: Call, deployment: Deployment) -> UpstreamRequest:
        pooled = deployment.pooled
        if pooled is None or pooled.salt_key is None or not request.path.endswith(_SALTED):
            return request
        body = b'%b,"cache_salt":"%b"}' % (request.body[:-1], pooled.salt(call.tenant).encode())
        return msgspec.structs.replace(request, body=body)


def _is_counted(call: Call, deployment: Deployment) -> bool:
    """Says whether a stream is to tell of its usage in each chunk: where the place is to, and its caller does not."""
    return (
        call.stream
        and call.dialect in ("chat", "completions")
        and "exact_usage" in deployment.options
        and b"continuous_usage_stats" not in call.body
    )


def _counted(body: bytes) -> bytes:
    """Asks for the usage so far in each chunk."""
    members = _decode(body)
    options = _decode(members["stream_options"])
    options["continuous_usage_stats"] = msgspec.Raw(b"true")
    members["stream_options"] = msgspec.Raw(_encode(options))
    return _encode(members)


def adapter() -> Vllm:
    """Returns the adapter of a vLLM server or a pool of them."""
    return Vllm("vllm", QUIRKS)
