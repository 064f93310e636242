"""The pools' metrics, taken once a second where the pools live: who reads them may be another thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.core.own import Standing, standing_of
from gateway.pool.fleet import Fleet, Member, Reading
from gateway.pool.router import PrefixRouter
from gateway.pool.states import Phase, ReplicaView
from gateway.telemetry import Metrics, names
from gateway.telemetry.metrics import Sample
from gateway.telemetry.names import Metric

TAKEN: Final = (
    names.POOL_REPLICAS, names.POOL_RESTARTS, names.POOL_IN_FLIGHT, names.POOL_REQUESTS, names.POOL_KV, names.POOL_LOAD,
    names.POOL_PACE, names.POOL_PRICE, names.POOL_INDEX, names.POOL_CACHED, names.POOL_CHOICES,
)  # fmt: skip


class PoolMetrics:
    """Holds the samples of the last look; they are replaced as a whole."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._samples: dict[str, list[Sample]] = {}

    def observe(self, metrics: Metrics) -> None:
        """Has the samples shown whenever somebody asks for metrics."""
        for metric in TAKEN:
            metrics.observe(metric, lambda name=metric.name: self._samples.get(name, ()))  # type: ignore[misc]

    def take(self, views: Sequence[ReplicaView]) -> None:
        """Takes all samples; `views` are all replicas there are."""
        samples: dict[str, list[Sample]] = {}
        for metric, labels, value in (*self._of_replicas(views), *self._of_pools()):
            samples.setdefault(metric.name, []).append((labels, value))
        self._samples = samples

    def _of_replicas(self, views: Sequence[ReplicaView]) -> Iterator[tuple[Metric, tuple[str, ...], float]]:
        counts = {(view.pool, phase): 0 for view in views for phase in Phase}
        for view in views:
            counts[view.pool, view.phase] += 1
            where = (view.pool, view.name)
            yield names.POOL_RESTARTS, where, view.restarts
            yield names.POOL_IN_FLIGHT, where, view.in_flight
            member = self._fleet.members.get(view.pool)
            reading = reading_of(member, view.address) if member is not None else None
            if reading is not None and reading.gauges is not None:
                yield names.POOL_REQUESTS, (*where, "running"), reading.gauges.running
                yield names.POOL_REQUESTS, (*where, "waiting"), reading.gauges.waiting
                yield names.POOL_KV, where, reading.gauges.kv_usage
        for (pool, phase), count in counts.items():
            yield names.POOL_REPLICAS, (pool, phase.value), count

    def _of_pools(self) -> Iterator[tuple[Metric, tuple[str, ...], float]]:
        for name, member in self._fleet.members.items():
            load = self._fleet.load_of(member)
            yield names.POOL_LOAD, (name,), load
            yield names.POOL_PACE, (name, "input"), member.pace.fresh
            yield names.POOL_PACE, (name, "output"), member.pace.output
            for each in standings(member, load):
                yield names.POOL_PRICE, (each.deployment, "full", "input"), each.full_input
                yield names.POOL_PRICE, (each.deployment, "full", "output"), each.full_output
                yield names.POOL_PRICE, (each.deployment, "ranked", "input"), each.input
                yield names.POOL_PRICE, (each.deployment, "ranked", "output"), each.output
            pool = self._fleet.pools.named(name)
            if pool is None:
                continue
            for place, key in enumerate(member.replicas):
                if key in pool.choices:
                    yield names.POOL_CHOICES, (name, str(place)), pool.choices[key]
            if isinstance(pool.router, PrefixRouter):
                yield names.POOL_INDEX, (name,), len(pool.router.index)
                yield names.POOL_CACHED, (name, "predicted"), pool.router.predicted_tokens
                yield names.POOL_CACHED, (name, "actual"), pool.router.cached_tokens


def standings(member: Member, load: float) -> Iterator[Standing]:
    """Yields what the tokens of a pool's deployments cost at a load; nothing of those that are priced otherwise."""
    for each in member.deployments:
        if each.own is not None and each.price is not None:
            yield standing_of(each.name, each.price, each.own, load)


def reading_of(member: Member, address: str) -> Reading | None:
    """Returns what the replica at an address told; an address may be written without its scheme."""
    return member.readings.get(address) or member.readings.get(f"http://{address}")
