"""The same numbers and spans through OpenTelemetry; imported only where they are exported."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from gateway.core.errors import ConfigError
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.names import METRICS, Metric


def resource(version: str) -> Resource:
    """Returns who speaks; `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` go before."""
    ours = {"service.name": "headgate", "service.version": version}
    return Resource.create(ours).merge(OTELResourceDetector().detect())


def instrument(metrics: Metrics, meter: Meter) -> None:
    """Registers every metric as an observable instrument that reads `metrics` when it is collected.

    The API has no observable histogram: one becomes three counters, `_bucket` (cumulated, by `le`), `_sum`, `_count`.
    """
    for metric in METRICS:
        if metric.kind == "gauge":
            meter.create_observable_gauge(metric.name, [_samples(metrics, metric)], description=metric.help)
        elif metric.kind == "counter":
            meter.create_observable_counter(metric.name, [_samples(metrics, metric)], description=metric.help)
        else:
            for part in ("bucket", "sum", "count"):
                meter.create_observable_counter(
                    f"{metric.name}_{part}",
                    [_histograms(metrics, metric, part)],
                    unit="s" if part == "sum" else "",
                    description=metric.help,
                )


Callback = Callable[[CallbackOptions], Iterable[Observation]]


def _samples(metrics: Metrics, metric: Metric) -> Callback:
    def read(_: CallbackOptions) -> Iterable[Observation]:
        for values, value in metrics.family(metric).samples:
            yield Observation(value, dict(zip(metric.labels, values, strict=True)))

    return read


def _histograms(metrics: Metrics, metric: Metric, part: str) -> Callback:
    def read(_: CallbackOptions) -> Iterable[Observation]:
        for values, histogram in metrics.family(metric).histograms:
            labels = dict(zip(metric.labels, values, strict=True))
            if part == "sum":
                yield Observation(histogram.sum, labels)
            elif part == "count":
                yield Observation(sum(histogram.counts), labels)
            else:
                total = 0
                for bound, count in zip((*metric.bounds, "+Inf"), list(histogram.counts), strict=True):
                    total += count
                    yield Observation(total, {**labels, "le": str(bound)})

    return read


def otlp(url: str, metrics: Metrics, version: str) -> tuple[BatchSpanProcessor, MeterProvider]:
    """Exports to an OTLP/HTTP collector; raises ConfigError where the exporter is not installed.

    Credentials come from `OTEL_EXPORTER_OTLP_HEADERS`, read by the exporter itself.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise ConfigError(["telemetry.otlp takes the exporter: pip install 'headgate[otlp]'"]) from None
    spans = BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces"))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{url}/v1/metrics"))
    provider = MeterProvider([reader], resource(version), shutdown_on_exit=False)
    instrument(metrics, provider.get_meter("headgate", version))
    return spans, provider
