"""Launched pools: from the config's words to what the supervisor is given, and its way to replicas and routers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gateway.config import Loaded
from gateway.config.launched import LaunchedPool
from gateway.config.providers import Provider
from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import ConfigError, UpstreamError
from gateway.core.types import Endpoint, Headers, Origin, Timeouts
from gateway.pool.router import Pools
from gateway.pool.states import Events, Phase, ReplicaView
from gateway.pool.supervisor import (
    Ask,
    Deadlines,
    Gpus,
    Question,
    Refused,
    Spec,
    Supervisor,
    Surroundings,
)
from gateway.upstream import Transport

_TIMEOUTS: Final = Timeouts(connect_s=1.0, tls_s=1.0)
_JSON: Final[Headers] = ((b"content-type", b"application/json"),)


def specs_of(loaded: Loaded) -> dict[str, Spec]:
    """Returns the pools that a config launches, by provider; one that is disabled is not launched."""
    return {
        name: _spec(name, provider, provider.pool, _models(loaded, name))
        for name, provider in loaded.config.providers.items()
        if provider.pool is not None and name not in loaded.disabled
    }


def _models(loaded: Loaded, provider: str) -> tuple[str, ...]:
    """Returns what the deployments of a provider ask for: the names that its replicas answer to."""
    models = (each.model for each in loaded.config.deployments.values() if each.provider == provider)
    return tuple(sorted(set(models)))


def _spec(name: str, provider: Provider, pool: LaunchedPool, models: tuple[str, ...]) -> Spec:
    limits = pool.deadlines
    key = provider.api_key
    return Spec(
        pool=name,
        model=pool.model,
        names=models,
        folder=Path(pool.state_dir) / name,
        replicas=pool.replicas,
        gpus=pool.gpus,
        args=tuple(pool.args),
        command=tuple(pool.command),
        env=tuple((variable, secret.reveal()) for variable, secret in sorted(pool.env.items()) if secret.present),
        api_key=key.reveal() if key is not None and key.present else "",
        keep=pool.on_exit == "keep",
        surge=pool.surge,
        drain_s=pool.drain_grace,
        deadlines=Deadlines(limits.start, limits.load, limits.profile, limits.capture, limits.warm_up),
    )


def surroundings(pools: Pools, transport: Transport, events: Events, environ: Mapping[str, str]) -> Surroundings:
    """Returns what the supervisor works with; `transport` is its own, so that it counts as nobody's call."""
    return Surroundings(
        ask=_ask(transport),
        members=pools,
        in_flight=lambda origin: pools.in_flight.get(origin, 0),
        events=events,
        gpus=Gpus(environ.get("CUDA_VISIBLE_DEVICES")),
        environ=environ,
    )


def _ask(transport: Transport) -> Ask:
    async def ask(question: Question) -> tuple[int, bytes] | None:
        auth: Headers = ((b"authorization", f"Bearer {question.key}".encode()),) if question.key else ()
        endpoint = Endpoint(str(question.origin), "", "", question.origin, auth)
        request = UpstreamRequest(
            question.path.encode(),
            question.body or b"",
            headers=_JSON if question.body is not None else (),
            method=b"GET" if question.body is None else b"POST",
        )
        try:
            async with asyncio.timeout(question.within_s):
                expires_at = asyncio.get_running_loop().time() + question.within_s
                exchange = await transport.send(endpoint, request, _TIMEOUTS, expires_at)
                try:
                    return exchange.status, await exchange.read()
                finally:
                    exchange.abort()
        except (UpstreamError, TimeoutError):
            return None

    return ask


def prepared(supervisor: Supervisor, loaded: Loaded) -> dict[str, list[Origin]]:
    """Readies the pools of a config; returns the addresses of their replicas. Raises ConfigError."""
    specs = specs_of(loaded)
    try:
        supervisor.prepare(specs)
    except Refused as refused:
        where = loaded.at("providers", refused.pool, "pool")
        raise ConfigError([f"{where}: pool {refused.pool!r}: {refused}"]) from None
    return {name: supervisor.origins(spec) for name, spec in specs.items()}


def supposed(loaded: Loaded) -> dict[str, list[Origin]]:
    """Returns addresses for a config that is only looked at."""
    return {
        name: [Origin("http", "127.0.0.1", 1 + number) for number in range(spec.replicas + 1)]
        for name, spec in specs_of(loaded).items()
    }


def notes(views: Sequence[ReplicaView], specs: Mapping[str, Spec]) -> dict[str, str]:
    """Returns how each pool stands, in words."""
    told = {}
    for name in specs:
        own = [view for view in views if view.pool == name]
        ready = sum(view.phase is Phase.READY for view in own)
        others = ", ".join(f"{view.name} {view.phase}" for view in own if view.phase is not Phase.READY)
        told[name] = f"{ready} of {len(own)} replicas ready{f' ({others})' if others else ''}"
    return told


def announced(loaded: Loaded) -> list[str]:
    """Says what is launched, pool by pool."""
    lines = []
    for name, spec in specs_of(loaded).items():
        each = "" if spec.gpus is None else f", {spec.gpus} GPU{'s'[: spec.gpus != 1]} each"
        lines.append(f"launches {name}: {spec.replicas} × {spec.model}{each}; output in {spec.folder}")
    return lines
