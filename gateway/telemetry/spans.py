"""Traces: whose trace a call belongs to, what goes upstream of it, and one span per sampled call, made after its end.

A call that is not sampled costs one draw. Names follow the GenAI conventions, which are still in development:
https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-spans.md (2026-11-20).
One span covers the call with all its retries; failed attempts are events in it. No prompt and no answer is in a span.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.core.money import Usage
from gateway.core.types import Headers, Origin

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.util.types import AttributeValue

# https://www.w3.org/TR/trace-context/#traceparent-header: version 00 ends here, a later one may go on after a dash
_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?")
_TRACESTATE_MAX: Final = 512

_OPERATIONS: Final = {"chat": "chat", "completions": "text_completion", "embeddings": "embeddings"}
_PROVIDERS: Final = {"mistral": "mistral_ai", "xai": "x_ai"}  # where the conventions' word is not the kind's


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """The trace a call is in. `headers` go upstream; `parent_id` of 0 is a trace that begins here."""

    headers: Headers
    sampled: bool = False
    trace_id: int = 0
    span_id: int = 0
    parent_id: int = 0
    tracestate: str = ""


class FailedAttempt(msgspec.Struct, frozen=True):
    """An attempt that did not answer; the moment is in nanoseconds since the epoch."""

    deployment: str
    reason: str
    at_ns: int


class CallFacts(msgspec.Struct, frozen=True):
    """What a span says of a finished call: a receipt's values, as far as they may leave the house.

    `kind` is the provider's; `response_model` the deployment's model. Moments are nanoseconds since the epoch.
    """

    began_ns: int
    ended_ns: int
    endpoint: str
    status: int
    request_model: str | None = None
    response_model: str | None = None
    kind: str | None = None
    origin: Origin | None = None
    stream: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    finish: str | None = None
    usage: Usage | None = None
    ttft_s: float | None = None
    reason: str | None = None
    route: str | None = None
    deployment: str | None = None
    team: str | None = None
    cache: str = "-"
    nano_usd: int | None = None
    failed: tuple[FailedAttempt, ...] = ()


class Traces:
    """Decides which calls are traced; `rate` holds for calls whose caller does not say.

    Without a processor no span is made, and a caller's `traceparent` is handed on as it came.
    """

    def __init__(
        self,
        processor: SpanProcessor | None = None,
        rate: float = 0.0,
        version: str = "",
        dice: random.Random | None = None,
    ) -> None:
        self._dice = dice if dice is not None else random.Random()
        self._rate = rate if processor is not None else 0.0
        self._finish: Callable[[TraceContext, CallFacts], None] | None = None
        self._stop: Callable[[], None] | None = None
        if processor is not None:
            self._finish, self._stop = _recorder(processor, version)

    def begin(self, traceparent: bytes | None, tracestate: bytes | None = None) -> TraceContext | None:
        """Returns the call's trace, or None where it has none; a malformed `traceparent` counts as none."""
        if traceparent is None:
            if not self._rate or self._dice.random() >= self._rate:
                return None
            return self._traced(self._dice.getrandbits(128) or 1, 0, None)
        match = _TRACEPARENT.fullmatch(traceparent)
        if match is None or match[1] == b"ff" or (match[1] == b"00" and match[5]):
            return self.begin(None)
        trace_id, parent_id = int(match[2], 16), int(match[3], 16)
        if not trace_id or not parent_id:
            return self.begin(None)
        if tracestate is not None and len(tracestate) > _TRACESTATE_MAX:
            tracestate = None
        if self._finish is not None and int(match[4], 16) & 1:
            return self._traced(trace_id, parent_id, tracestate)
        return TraceContext(_headers(traceparent, tracestate))

    def end(self, context: TraceContext | None, facts: CallFacts) -> None:
        """Makes the span of a sampled call; it is exported from another thread."""
        if context is not None and context.sampled and self._finish is not None:
            self._finish(context, facts)

    def close(self) -> None:
        """Sends what waits and stops; blocks for as long as the exporter's timeout."""
        if self._stop is not None:
            self._stop()

    def _traced(self, trace_id: int, parent_id: int, tracestate: bytes | None) -> TraceContext:
        span_id = self._dice.getrandbits(64) or 1
        return TraceContext(
            _headers(b"00-%032x-%016x-01" % (trace_id, span_id), tracestate),
            True,
            trace_id,
            span_id,
            parent_id,
            tracestate.decode("latin-1") if tracestate is not None else "",
        )


def _headers(traceparent: bytes, tracestate: bytes | None) -> Headers:
    if tracestate is None:
        return ((b"traceparent", traceparent),)
    return (b"traceparent", traceparent), (b"tracestate", tracestate)


def attributes_of(facts: CallFacts) -> dict[str, AttributeValue]:
    """Returns a span's attributes; what is not known is left out."""
    usage = facts.usage
    found: dict[str, AttributeValue | None] = {
        "gen_ai.operation.name": _OPERATIONS.get(facts.endpoint, facts.endpoint),
        "gen_ai.provider.name": None if facts.kind is None else _PROVIDERS.get(facts.kind, facts.kind),
        "gen_ai.request.model": facts.request_model,
        "gen_ai.request.stream": True if facts.stream else None,
        "gen_ai.request.max_tokens": facts.max_tokens,
        "gen_ai.request.temperature": facts.temperature,
        "gen_ai.response.model": facts.response_model,
        "gen_ai.response.finish_reasons": None if facts.finish is None else (facts.finish,),
        "gen_ai.response.time_to_first_chunk": facts.ttft_s if facts.stream else None,
        "server.address": None if facts.origin is None else facts.origin.host,
        "server.port": None if facts.origin is None else facts.origin.port,
        "http.response.status_code": facts.status,
        "error.type": facts.reason or (str(facts.status) if facts.status >= 400 else None),
        "headgate.route": facts.route,
        "headgate.deployment": facts.deployment,
        "headgate.team": facts.team,
        "headgate.cache": None if facts.cache == "-" else facts.cache,
        "headgate.cost_nano_usd": facts.nano_usd,
    }
    if usage is not None:
        found |= {
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_input or None,
            "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_5m + usage.cache_write_1h or None,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning or None,
        }
    return {name: value for name, value in found.items() if value is not None}


def _recorder(
    processor: SpanProcessor, version: str
) -> tuple[Callable[[TraceContext, CallFacts], None], Callable[[], None]]:
    """Returns what makes a span, and what stops; the SDK is imported only where spans are exported (60 ms)."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    from gateway.telemetry.export import resource

    class Chosen(IdGenerator):
        """Gives the ids that were sent upstream when the call began."""

        trace_id = span_id = 1

        def generate_trace_id(self) -> int:
            return self.trace_id

        def generate_span_id(self) -> int:
            return self.span_id

    chosen = Chosen()
    provider = TracerProvider(ALWAYS_ON, resource(version), shutdown_on_exit=False, id_generator=chosen)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("headgate", version)

    def finish(context: TraceContext, facts: CallFacts) -> None:
        chosen.trace_id, chosen.span_id = context.trace_id, context.span_id
        parent = trace.INVALID_SPAN
        if context.parent_id:
            parent = trace.NonRecordingSpan(
                trace.SpanContext(
                    context.trace_id,
                    context.parent_id,
                    is_remote=True,
                    trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
                    trace_state=trace.TraceState.from_header([context.tracestate]) if context.tracestate else None,
                )
            )
        attributes = attributes_of(facts)
        operation = _OPERATIONS.get(facts.endpoint, facts.endpoint)
        span = tracer.start_span(
            f"{operation} {facts.request_model}" if facts.request_model else operation,
            trace.set_span_in_context(parent),
            trace.SpanKind.CLIENT,
            attributes,
            start_time=facts.began_ns,
        )
        for attempt in facts.failed:
            span.add_event(
                "headgate.attempt_failed",
                {"headgate.deployment": attempt.deployment, "error.type": attempt.reason},
                attempt.at_ns,
            )
        if "error.type" in attributes:
            span.set_status(trace.StatusCode.ERROR)
        span.end(facts.ended_ns)

    return finish, provider.shutdown
