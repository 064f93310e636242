"""How the pools' replicas are reached by those who watch them: over the transports and credentials that calls take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.config import Config
from gateway.config.health import Health as Written
from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Deployment, Endpoint, Timeouts
from gateway.pool.health import Canary, Probe, Settings
from gateway.upstream import Transport

_PAGE_WITHIN_S: Final = 2.0
_TIMEOUTS: Final = Timeouts(connect_s=2.0, tls_s=2.0)
_NO_SUCH: Final = frozenset({400, 404, 405, 415, 422, 501})  # this model is not asked this way


class Replicas:
    """Reaches replicas; implements `gateway.pool.health.Reach`. `heard` is given each page of /metrics, too."""

    def __init__(
        self,
        transports: Mapping[str, Transport],
        heard: Callable[[Endpoint, bytes], None] = lambda endpoint, page: None,
    ) -> None:
        self._transports = transports
        self._heard = heard

    async def page(self, deployment: Deployment, endpoint: Endpoint) -> bytes | None:
        try:
            status, told = await self._ask(endpoint, _get(deployment, b"/metrics"), _PAGE_WITHIN_S)
        except UpstreamError:
            return None
        if status != 200:
            return None
        self._heard(endpoint, told)
        return told

    async def probe(self, deployment: Deployment, endpoint: Endpoint, within_s: float) -> Probe:
        try:
            status, _ = await self._ask(endpoint, _get(deployment, b"/health"), within_s)
        except UpstreamError:
            return Probe.MISSED
        if status == 503:
            return Probe.DEAD
        return Probe.WELL if status < 300 else Probe.MISSED if status >= 500 else Probe.ABSENT

    async def canary(self, deployment: Deployment, endpoint: Endpoint, within_s: float) -> Canary:
        status = 404
        expires_at = time.monotonic() + within_s
        for request in _canaries(deployment):
            try:
                status, _ = await self._ask(endpoint, request, expires_at - time.monotonic())
            except UpstreamError as error:
                return Canary.SILENT if error.reason is Reason.TIMEOUT else Canary.GONE
            if status not in _NO_SUCH:
                break
        if status < 300:
            return Canary.SANG
        if status in (429, 503):  # a full queue has no room for a canary, and may stand still behind it
            return Canary.SILENT
        return Canary.REFUSED if status < 500 and status != 501 else Canary.GONE

    def break_off(self, endpoint: Endpoint, why: str) -> None:
        transport = self._transports.get(endpoint.transport)
        if transport is not None:
            transport.break_off(endpoint.origin, why)

    async def _ask(self, endpoint: Endpoint, request: UpstreamRequest, within_s: float) -> tuple[int, bytes]:
        transport = self._transports.get(endpoint.transport)
        if transport is None:
            raise UpstreamError(Reason.CANCELLED, "its transport is closed")
        exchange = await transport.send(endpoint, request, _TIMEOUTS, time.monotonic() + within_s)
        try:
            return exchange.status, await exchange.read()
        finally:
            exchange.abort()


def _get(deployment: Deployment, path: bytes) -> UpstreamRequest:
    """Returns the request for a page that stands beside the API's `/v1`."""
    return UpstreamRequest(deployment.base_path.removesuffix(b"/v1") + path, b"", headers=(), method=b"GET")


def _canaries(deployment: Deployment) -> list[UpstreamRequest]:
    """Returns the calls for one token, as far as the deployment serves such: of a text, or of an embedding."""
    bodies: list[tuple[bytes, dict[str, Any]]] = []
    if deployment.serves & {"chat", "completions"}:
        bodies.append((b"/completions", {"prompt": "1", "max_tokens": 1, "temperature": 0}))
    if "embeddings" in deployment.serves:
        bodies.append((b"/embeddings", {"input": "1"}))
    return [
        UpstreamRequest(deployment.base_path + path, msgspec.json.encode({"model": deployment.model, **body}))
        for path, body in bodies
    ]


def health_of(config: Config) -> dict[str, Settings]:
    """Returns how each pool's replicas are watched, by provider."""
    return {name: _settings(each.health) for name, each in config.providers.items() if each.kind == "vllm"}


def _settings(written: Written) -> Settings:
    return Settings(
        interval_s=written.interval,
        timeout_s=written.timeout,
        misses=written.misses,
        progress_s=written.progress,
        canary_s=written.canary,
        on_hang=written.on_hang,
        drift_factor=written.drift,
        drift_samples=written.drift_samples,
        on_drift=written.on_drift,
        on_device_error=written.on_device_error,
    )
