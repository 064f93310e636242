"""Which replicas of a pool get calls: those that nobody has barred, of models that they are known to serve.

Asked by every call that may go to a pool, so what stands is worked out when it changes, not when it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gateway.core.types import Deployment, Endpoint

_WAIT_S: Final = 10.0  # what a caller is told to wait where nobody knows better
_LONGEST_WAIT_S: Final = 600.0


class _Bar(msgspec.Struct, frozen=True):
    why: str
    ready_at: float | None


class Standing:
    """The members of all pools, by provider. A replica is named by its origin, and with it all of its ranks.

    `away` says of each deployment that no replica stands for why; it is replaced as a whole.
    """

    def __init__(self) -> None:
        self.away: Mapping[str, str] = {}
        self._bars: dict[str, dict[str, _Bar]] = {}
        self._models: dict[str, dict[str, frozenset[str]]] = {}
        self._watched: tuple[Deployment, ...] = ()
        self._known: dict[str, tuple[Deployment, tuple[Endpoint, ...]]] = {}

    def watch(self, deployments: Iterable[Deployment]) -> None:
        """Takes a new config over; of providers that it has no more, nothing is remembered."""
        gone = {deployment.provider for deployment in self._watched}
        self._watched = tuple(each for each in deployments if each.pooled is not None)
        for provider in gone - {deployment.provider for deployment in self._watched}:
            self._bars.pop(provider, None)
            self._models.pop(provider, None)
        self._work_out()

    def bar(self, pool: str, replica: str, why: str, ready_at: float | None) -> None:
        """Keeps calls from a replica; `ready_at` (monotonic seconds) is when it may be back."""
        self._bars.setdefault(pool, {})[replica] = _Bar(why, ready_at)
        self._work_out()

    def admit(self, pool: str, replica: str, models: frozenset[str] | None) -> None:
        """Lets calls through to a replica: those for `models`, or all."""
        self._bars.get(pool, {}).pop(replica, None)
        if models is None:
            self._models.get(pool, {}).pop(replica, None)
        else:
            self._models.setdefault(pool, {})[replica] = models
        self._work_out()

    @property
    def bars(self) -> bool:
        """Whether any replica is barred."""
        return any(self._bars.values())

    def barred(self, endpoint: Endpoint) -> str | None:
        """Returns why an endpoint's replica is barred, or None."""
        bars = self._bars.get(endpoint.provider)
        bar = bars.get(str(endpoint.origin)) if bars else None
        return None if bar is None else bar.why

    def endpoints(self, deployment: Deployment) -> tuple[Endpoint, ...]:
        """Returns the endpoints of a deployment whose replicas stand; a call may be planned by an earlier config."""
        known = self._known.get(deployment.name)
        return known[1] if known is not None and known[0] is deployment else self._of(deployment)

    def retry_after_s(self, now: float) -> float:
        """Returns when the first replica of a deployment that is away may stand, in seconds from now."""
        times = [
            bar.ready_at
            for deployment in self._watched
            if deployment.name in self.away
            for bar in self._bars.get(deployment.provider, {}).values()
            if bar.ready_at is not None
        ]
        return min(_LONGEST_WAIT_S, max(1.0, min(times) - now)) if times else _WAIT_S

    def _of(self, deployment: Deployment) -> tuple[Endpoint, ...]:
        bars = self._bars.get(deployment.provider, {})
        models = self._models.get(deployment.provider, {})
        if not bars and not models:
            return deployment.endpoints
        return tuple(
            endpoint
            for endpoint in deployment.endpoints
            if (origin := str(endpoint.origin)) not in bars
            and ((serves := models.get(origin)) is None or deployment.model in serves)
        )

    def _work_out(self) -> None:
        self._known = {each.name: (each, self._of(each)) for each in self._watched}
        self.away = {
            deployment.name: f"no replica is ready{self._whys(deployment)}"
            for deployment, standing in self._known.values()
            if not standing and deployment.endpoints
        }

    def _whys(self, deployment: Deployment) -> str:
        bars = self._bars.get(deployment.provider, {})
        origins = dict.fromkeys(str(endpoint.origin) for endpoint in deployment.endpoints)
        whys = dict.fromkeys(bars[origin].why if origin in bars else "serves another model" for origin in origins)
        return f": {', '.join(whys)}" if whys else ""
