"""Figures of services that are read when somebody asks for metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from gateway.pipeline import Services
from gateway.telemetry import names
from gateway.telemetry.metrics import Sample
from gateway.upstream import Transport
from gateway.wiring.answers import Answers


def observe(services: Services, answers: Answers) -> None:
    """Has figures of what serves shown as metrics."""
    metrics, admission, ledger = services.telemetry.metrics, services.admission, services.ledger
    breakers, content = services.breakers, services.kept.content
    metrics.observe(names.IN_FLIGHT, lambda: [((name,), count) for name, count in list(admission.in_flight.items())])
    metrics.observe(names.QUEUED, lambda: [((), admission.waiting)])
    metrics.observe(names.JOURNAL, lambda: [((), ledger.journal.size_bytes)])
    metrics.observe(names.CACHE_BYTES, lambda: [((), cache.size_bytes) for cache in answers.here])
    metrics.observe(names.CACHE_ENTRIES, lambda: [((), len(cache)) for cache in answers.here])
    metrics.observe(names.RESPONSES_BYTES, lambda: [((), content.size_bytes)])
    metrics.observe(names.RESPONSES, lambda: [((), len(content))])
    metrics.observe(names.CONNECTIONS, lambda: _connections(services.transports))
    metrics.observe(
        names.BREAKERS,
        lambda: [
            ((condition.endpoint, state), float(condition.state == state))
            for condition in breakers.conditions(time.monotonic())
            for state in names.BREAKER_STATES
        ],
    )


def _connections(transports: Mapping[str, Transport]) -> list[Sample]:
    totals: Counter[tuple[str, ...]] = Counter()
    for transport in list(transports.values()):
        for origin, active, idle in transport.connections():
            totals[str(origin), "active"] += active
            totals[str(origin), "idle"] += idle
    return list(totals.items())
