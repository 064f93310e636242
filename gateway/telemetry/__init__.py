"""What the gateway tells of itself: metrics, traces and logs. The one place where metric names live."""

from __future__ import annotations

from collections.abc import Callable

from gateway.telemetry import names
from gateway.telemetry.logs import configure_logging
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.prometheus import CONTENT_TYPE, render
from gateway.telemetry.spans import CallFacts, FailedAttempt, TraceContext, Traces

__all__ = [
    "CONTENT_TYPE",
    "CallFacts",
    "FailedAttempt",
    "Metrics",
    "Telemetry",
    "TraceContext",
    "Traces",
    "configure_logging",
    "names",
]


class Telemetry:
    """Metrics and traces of one process; raises ConfigError where `otlp` is set and its exporter is not installed.

    `otlp` is a collector's base URL, `spans` the share of calls traced. The numbers are recorded either way.
    """

    def __init__(self, version: str, otlp: str | None = None, spans: float = 0.0) -> None:
        self.metrics = Metrics()
        self.metrics.observe(names.BUILD, lambda: [((version,), 1)])
        self._stop: Callable[[], None] | None = None
        if otlp is None:
            self.traces = Traces()
            return
        from gateway.telemetry import export

        processor, provider = export.otlp(otlp, self.metrics, version)
        self.traces = Traces(processor, spans, version)
        self._stop = provider.shutdown

    def prometheus(self) -> bytes:
        """Returns all metrics as text, of `CONTENT_TYPE`."""
        return render(self.metrics.families())

    def close(self) -> None:
        """Sends what waits to the collector; blocks, so give it a thread."""
        self.traces.close()
        if self._stop is not None:
            self._stop()
