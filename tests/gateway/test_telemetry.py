"""Telemetry: what is counted, how it is shown, and what of a call leaves in a span."""

from __future__ import annotations

import io
import json
import logging
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gateway.core.errors import ConfigError
from gateway.core.money import BUCKETS, Usage
from gateway.core.types import Origin
from gateway.telemetry import CallFacts, FailedAttempt, Metrics, Telemetry, Traces, configure_logging, names
from gateway.telemetry.export import instrument
from gateway.telemetry.metrics import OTHER
from gateway.telemetry.prometheus import render
from gateway.telemetry.reference import markdown

ROOT = Path(__file__).parents[2]

# -- a strict reader of the text format, version 0.0.4 -------------------------------------------------------------

_SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)'
)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
_VALUE = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?|Inf|NaN)")

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Series:
    """Reads the text; fails on whatever the format does not allow, on doubles, and on histograms that do not add up."""
    assert text.endswith("\n")
    series: Series = {}
    kinds: dict[str, str] = {}
    current = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            current = line.split(" ")[2]
            assert current not in kinds, f"{current} comes twice"
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == current
            kinds[name] = kind
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        name, labels, value = match.groups()
        base = re.sub(r"_(bucket|sum|count)$", "", name) if kinds.get(current) == "histogram" else name
        assert base == current, f"{name} stands in the family {current}"
        assert _VALUE.fullmatch(value), line
        found = _LABEL.findall(labels or "")
        assert "".join(f'{key}="{text}"{end}' for key, text, end in found) == (labels or "")
        unescaped = {
            key: re.sub(r"\\(.)", lambda one: "\n" if one[1] == "n" else one[1], text) for key, text, _ in found
        }
        assert len(unescaped) == len(found)
        key = (name, frozenset(unescaped.items()))
        assert key not in series, f"{line} comes twice"
        series[key] = float(value.replace("Inf", "inf"))
    _hold(series, kinds)
    return series


def _hold(series: Series, kinds: dict[str, str]) -> None:
    for (name, labels), value in series.items():
        if name.endswith("_count") and kinds.get(name.removesuffix("_count")) == "histogram":
            base = name.removesuffix("_count")
            buckets = sorted(
                (float(dict(other)["le"].replace("Inf", "inf")), count)
                for (each, other), count in series.items()
                if each == f"{base}_bucket" and {pair for pair in other if pair[0] != "le"} == labels
            )
            assert [count for _, count in buckets] == sorted(count for _, count in buckets)
            assert buckets[-1] == (float("inf"), value)
            assert (f"{base}_sum", labels) in series


def of(series: Series, name: str, **labels: str) -> float:
    return series[name, frozenset(labels.items())]


# -- metrics -------------------------------------------------------------------------------------------------------

USAGE = Usage(fresh_input=100, cached_input=50, output_text=20, reasoning=5)


def recorded() -> Metrics:
    metrics = Metrics()
    metrics.record_call(
        "chat",
        "mini",
        "sales",
        200,
        "",
        usage=USAGE,
        nano_usd=12_345,
        cache="miss",
        ttft_s=0.25,
        tpot_s=0.009,
        e2e_s=1.5,
    )
    metrics.record_call("chat", "mini", "ops", 200, "", nano_usd=0, saved_nano=12_345, cache="hit", e2e_s=0.0004)
    metrics.record_call("chat", "mini", "ops", 502, "server_error", usage=USAGE, nano_usd=None, e2e_s=700.0)
    return metrics


def test_every_number_of_a_call_is_shown_in_the_text_format() -> None:
    series = parse(render(recorded().families()).decode())
    call = {"route": "chat", "deployment": "mini"}
    assert of(series, "headgate_calls_total", **call, team="sales", status="200", reason="") == 1
    assert of(series, "headgate_calls_total", **call, team="ops", status="502", reason="server_error") == 1
    for bucket, count in (("fresh_input", 100), ("cached_input", 50), ("output_text", 20), ("reasoning", 5)):
        assert of(series, "headgate_tokens_total", deployment="mini", team="sales", bucket=bucket) == count
    assert of(series, "headgate_cost_nano_usd_total", deployment="mini", team="sales") == 12_345
    assert of(series, "headgate_saved_nano_usd_total", deployment="mini", team="ops") == 12_345
    assert of(series, "headgate_unpriced_calls_total", deployment="mini") == 1
    assert of(series, "headgate_cache_lookups_total", route="chat", outcome="hit") == 1
    assert of(series, "headgate_cache_lookups_total", route="chat", outcome="miss") == 1


def test_histograms_cumulate_and_hold_what_lies_above_their_bounds() -> None:
    series = parse(render(recorded().families()).decode())
    name = "headgate_call_duration_seconds"
    assert of(series, f"{name}_bucket", deployment="mini", le="0.001") == 1
    assert of(series, f"{name}_bucket", deployment="mini", le="2.0") == 2
    assert of(series, f"{name}_bucket", deployment="mini", le="600.0") == 2
    assert of(series, f"{name}_bucket", deployment="mini", le="+Inf") == 3
    assert of(series, f"{name}_sum", deployment="mini") == pytest.approx(701.5004)
    assert of(series, "headgate_time_to_first_token_seconds_count", deployment="mini") == 1


def test_a_value_on_a_bound_counts_below_it() -> None:
    metrics = Metrics()
    metrics.record_call("r", "d", "", 200, "", ttft_s=0.3)
    series = parse(render(metrics.families()).decode())
    name = "headgate_time_to_first_token_seconds_bucket"
    assert of(series, name, deployment="d", le="0.2") == 0
    assert of(series, name, deployment="d", le="0.3") == 1


def test_label_values_are_escaped() -> None:
    metrics = Metrics()
    evil = 'a"b\\c\nd'
    metrics.record_call(evil, "d", "", 200, "")
    series = parse(render(metrics.families()).decode())
    assert of(series, "headgate_calls_total", route=evil, deployment="d", team="", status="200", reason="") == 1


def test_series_beyond_the_bound_are_counted_as_others_and_none_is_lost() -> None:
    metrics = Metrics(max_series=10)
    for number in range(100):
        metrics.record_call("r", f"d{number}", "t", 200, "", usage=Usage(fresh_input=1), e2e_s=0.1)
        metrics.count(names.BREAKER_CHANGES, (f"e{number}", "open"))
    series = parse(render(metrics.families()).decode())
    for name in ("headgate_calls_total", "headgate_tokens_total", "headgate_breaker_changes_total"):
        values = [value for (each, _), value in series.items() if each == name]
        assert (sum(values), len(values)) == (100, 11)
    assert of(series, "headgate_call_duration_seconds_count", deployment=OTHER) == 90


def test_gauges_are_asked_when_somebody_reads() -> None:
    metrics = Metrics()
    flights = {"mini": 1}
    metrics.observe(names.IN_FLIGHT, lambda: [((name,), count) for name, count in flights.items()])
    flights["mini"] = 7
    assert of(parse(render(metrics.families()).decode()), "headgate_in_flight", deployment="mini") == 7


def test_counters_beside_calls_add_up() -> None:
    metrics = Metrics()
    metrics.count(names.SHED)
    metrics.count(names.SHED, by=2)
    metrics.count(names.RELOADS, ("refused",))
    series = parse(render(metrics.families()).decode())
    assert of(series, "headgate_shed_total") == 3
    assert of(series, "headgate_config_reloads_total", outcome="refused") == 1


def test_the_table_of_metrics_is_sound() -> None:
    assert len({metric.name for metric in names.METRICS}) == len(names.METRICS)
    for metric in names.METRICS:
        assert metric.name.startswith("headgate_")
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert (metric.kind == "histogram") == bool(metric.bounds)
        assert list(metric.bounds) == sorted(set(metric.bounds))
        assert not {"key", "user", "le"} & set(metric.labels)
    every = {value for value in vars(names).values() if isinstance(value, names.Metric)}
    assert every == set(names.METRICS)


def test_the_page_in_docs_is_the_generated_one() -> None:
    written = (ROOT / "docs" / "metrics.md").read_text()
    assert written == markdown(), "write it again: python -m gateway.telemetry.reference > docs/metrics.md"


def test_telemetry_tells_its_version() -> None:
    series = parse(Telemetry("1.2.3").prometheus().decode())
    assert of(series, "headgate_build_info", version="1.2.3") == 1


def test_opentelemetry_reads_the_same_numbers() -> None:
    metrics = recorded()
    metrics.observe(names.REVISION, lambda: [((), 3)])
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    instrument(metrics, provider.get_meter("test"))
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    seen: Series = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.data.data_points:
            labels = {str(key): str(value) for key, value in (point.attributes or {}).items()}
            if "le" in labels:
                labels["le"] = str(float(labels["le"]))
            seen[metric.name, frozenset(labels.items())] = point.value
    shown = parse(render(metrics.families()).decode())
    expected = {
        (name, frozenset((key, str(float(text)) if key == "le" else text) for key, text in labels)): value
        for (name, labels), value in shown.items()
    }
    assert seen == expected


# -- traces --------------------------------------------------------------------------------------------------------

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01".encode()
NOT_SAMPLED = f"00-{TRACE}-{PARENT}-00".encode()

FACTS = CallFacts(
    began_ns=1_000_000_000,
    ended_ns=3_000_000_000,
    endpoint="chat",
    status=200,
    request_model="smart",
    response_model="claude-haiku-4-5",
    kind="anthropic",
    origin=Origin("https", "api.anthropic.com", 443),
    stream=True,
    max_tokens=256,
    temperature=0.0,
    finish="stop",
    usage=Usage(fresh_input=100, cached_input=50, cache_write_5m=7, output_text=20, reasoning=5),
    ttft_s=0.25,
    route="smart",
    deployment="haiku",
    team="sales",
    nano_usd=12_345,
    failed=(FailedAttempt("mini", "overloaded", 1_500_000_000),),
)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def traces(exporter: InMemorySpanExporter, rate: float = 1.0) -> Traces:
    return Traces(SimpleSpanProcessor(exporter), rate, "1", random.Random(1))


def test_a_span_follows_the_genai_conventions(exporter: InMemorySpanExporter) -> None:
    tracing = traces(exporter)
    tracing.end(tracing.begin(None), FACTS)
    (span,) = exporter.get_finished_spans()
    assert span.name == "chat smart"
    assert span.kind is SpanKind.CLIENT
    assert (span.start_time, span.end_time) == (1_000_000_000, 3_000_000_000)
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "smart",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 256,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.response.model": "claude-haiku-4-5",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 157,
        "gen_ai.usage.output_tokens": 25,
        "gen_ai.usage.cache_read.input_tokens": 50,
        "gen_ai.usage.cache_creation.input_tokens": 7,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "server.address": "api.anthropic.com",
        "server.port": 443,
        "http.response.status_code": 200,
        "headgate.route": "smart",
        "headgate.deployment": "haiku",
        "headgate.team": "sales",
        "headgate.cost_nano_usd": 12_345,
    }
    assert [(event.name, event.timestamp) for event in span.events] == [("headgate.attempt_failed", 1_500_000_000)]
    assert span.status.status_code is StatusCode.UNSET
    assert span.resource.attributes["service.name"] == "headgate"


def test_the_span_is_the_one_that_upstream_was_told_of(exporter: InMemorySpanExporter) -> None:
    tracing = traces(exporter)
    context = tracing.begin(SAMPLED, b"vendor=1")
    assert context is not None
    tracing.end(context, FACTS)
    (span,) = exporter.get_finished_spans()
    told = dict(context.headers)
    assert told[b"traceparent"] == b"00-%s-%016x-01" % (TRACE.encode(), span.context.span_id)
    assert told[b"tracestate"] == b"vendor=1"
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.context.trace_state.get("vendor") == "1"


def test_two_calls_have_two_traces(exporter: InMemorySpanExporter) -> None:
    tracing = traces(exporter)
    for _ in range(2):
        tracing.end(tracing.begin(None), FACTS)
    one, other = exporter.get_finished_spans()
    assert one.context.trace_id != other.context.trace_id
    assert one.parent is None


def test_a_caller_who_does_not_sample_is_obeyed_and_its_trace_handed_on(exporter: InMemorySpanExporter) -> None:
    tracing = traces(exporter)
    context = tracing.begin(NOT_SAMPLED)
    tracing.end(context, FACTS)
    assert context is not None
    assert context.headers == ((b"traceparent", NOT_SAMPLED),)
    assert exporter.get_finished_spans() == ()


def test_a_caller_who_samples_is_obeyed_at_a_rate_of_zero(exporter: InMemorySpanExporter) -> None:
    tracing = traces(exporter, rate=0.0)
    assert tracing.begin(None) is None
    tracing.end(tracing.begin(SAMPLED), FACTS)
    assert len(exporter.get_finished_spans()) == 1


def test_the_rate_is_the_share_of_calls_traced(exporter: InMemorySpanExporter) -> None:
    tracing = traces(exporter, rate=0.1)
    assert 50 < sum(tracing.begin(None) is not None for _ in range(1000)) < 150


def test_without_an_exporter_nothing_is_traced_and_the_callers_trace_goes_on_unchanged() -> None:
    tracing = Traces(rate=1.0)
    assert tracing.begin(None) is None
    context = tracing.begin(SAMPLED)
    assert context is not None
    assert context.headers == ((b"traceparent", SAMPLED),)
    tracing.end(context, FACTS)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"garbage",
        SAMPLED + b"-more",
        b"ff" + SAMPLED[2:],
        SAMPLED.upper(),
        b"00-" + b"0" * 32 + b"-" + PARENT.encode() + b"-01",
        b"00-" + TRACE.encode() + b"-" + b"0" * 16 + b"-01",
        SAMPLED + b"\n",
        b"00-" + b"\xff" * 32 + b"-" + PARENT.encode() + b"-01",
    ],
)
def test_a_malformed_traceparent_counts_as_none(header: bytes, exporter: InMemorySpanExporter) -> None:
    assert traces(exporter, rate=0.0).begin(header) is None


def test_a_later_version_of_traceparent_is_read(exporter: InMemorySpanExporter) -> None:
    context = traces(exporter, rate=0.0).begin(b"01" + SAMPLED[2:] + b"-more")
    assert context is not None
    assert f"{context.trace_id:032x}" == TRACE


def test_a_failed_call_is_an_error_with_its_reason(exporter: InMemorySpanExporter) -> None:
    tracing = traces(exporter)
    facts = CallFacts(0, 1, "completions", 504, reason="timeout", kind="xai")
    tracing.end(tracing.begin(None), facts)
    (span,) = exporter.get_finished_spans()
    assert span.name == "text_completion"
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "x_ai",
        "http.response.status_code": 504,
        "error.type": "timeout",
    }


def test_otlp_without_its_extra_is_a_config_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("trace_exporter", "metric_exporter"):
        monkeypatch.setitem(sys.modules, f"opentelemetry.exporter.otlp.proto.http.{part}", None)
    with pytest.raises(ConfigError, match=r"headgate\[otlp\]"):
        Telemetry("1", "http://127.0.0.1:1", 1.0)


def test_the_sdk_is_not_imported_where_nothing_is_exported() -> None:
    program = "import sys, gateway.telemetry as t; t.Telemetry('1'); print('opentelemetry.sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"


# -- logs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_logging_restored")
def test_json_logs_are_one_object_a_line_for_ours_and_the_librarys() -> None:
    out = io.StringIO()
    configure_logging(json=True, stream=out)
    structlog.get_logger("gateway.breakers").info("breaker_opened", endpoint="mini#0")
    structlog.get_logger().debug("never shown")
    logging.getLogger("library").warning("something %s", "odd")
    logging.getLogger("library").info("never shown")
    first, second = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (first["event"], first["endpoint"], first["level"]) == ("breaker_opened", "mini#0", "info")
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["level"]) == ("something odd", "warning")


@pytest.mark.usefixtures("_logging_restored")
@pytest.mark.parametrize("json_lines", [True, False])
def test_a_traceback_shows_no_local_variable(json_lines: bool) -> None:
    out = io.StringIO()
    configure_logging(json=json_lines, stream=out)

    def fail() -> None:
        prompt = "my SSN is " + "-".join(("536", "90", "4399"))
        raise RuntimeError(f"{len(prompt)} bytes")

    try:
        fail()
    except RuntimeError:
        structlog.get_logger().exception("failed")
        logging.getLogger("library").exception("failed too")
    assert out.getvalue().count("RuntimeError: 21 bytes") == 2
    assert "536-90-4399" not in out.getvalue()


def test_every_bucket_is_counted() -> None:
    metrics = Metrics()
    metrics.record_call("r", "d", "t", 200, "", usage=Usage(**dict.fromkeys(BUCKETS, 1)))
    assert len(metrics.family(names.TOKENS).samples) == len(BUCKETS)
