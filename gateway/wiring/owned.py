"""What of a config stands on one's own machines, as costs tell of it."""

from __future__ import annotations

from gateway.accounting.own_gpus import Hardware
from gateway.config import Loaded
from gateway.core.money import NANO_PER_USD
from gateway.wiring.accounts import Owned
from gateway.wiring.compile import Compiled
from gateway.wiring.own_gpus import gpus_of


def owned_of(loaded: Loaded, compiled: Compiled) -> Owned:
    """Returns the providers on one's own machines, and the GPUs of those whose hour has a price.

    A pool has as many replicas as are to be launched, or as servers are listed, each of `gpus` GPUs.
    """
    own = compiled.snapshot.elsewhere.own
    providers = dict.fromkeys(each.provider for each in compiled.snapshot.deployments if each.name in own)
    hardware = []
    for name in providers:
        provider = loaded.config.providers[name]
        if provider.gpu_hour_usd is not None:
            replicas = provider.pool.replicas if provider.pool is not None else max(1, len(provider.endpoints))
            hour_nano = int(provider.gpu_hour_usd * NANO_PER_USD)
            hardware.append(Hardware(name, gpus_of(provider) * replicas, hour_nano))
    return Owned(tuple(providers), tuple(hardware))
