"""A pool as written -> what its tokens cost: the planner's estimate, the config's word, or what was measured."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from gateway.config import Config
from gateway.config.providers import Deployment, Provider
from gateway.core.money import Price
from gateway.core.own import OwnPrice
from gateway.pool.fleet import Means
from gateway.pool.planner.own import SPARE_USD, Hour, Speed, estimated, rates_of
from gateway.prices import priced

TARGET: Final = 0.65

_estimated = lru_cache(256)(estimated)  # a price is compiled anew whenever a measurement changes it


def own_price(provider: Provider, deployment: Deployment, factor: float | None) -> tuple[Price, OwnPrice] | None:
    """Returns the full price of a deployment and what ranks it; None where its GPUs have no price by the hour.

    `factor` is what was measured of its estimate. Raises UnknownWord for a model or GPU that cannot be estimated.
    """
    hour = _hour(provider)
    if hour is None:
        return None
    speed = speed_of(provider, deployment)
    if factor is not None and provider.throughput is None:
        speed = speed.times(factor)
    rates = rates_of(hour, speed)
    return None if rates is None else (priced(rates[0], speed.source), OwnPrice(rates[1], hour.target))


def speed_of(provider: Provider, deployment: Deployment) -> Speed:
    """Returns what one replica does, before anything was measured; raises UnknownWord."""
    told = provider.throughput
    if told is not None:
        return Speed(told.input, told.output, float(told.at_once or 0), "throughput")
    return _estimated(deployment.base_model or deployment.model, provider.gpu or "", gpus_of(provider))


def gpus_of(provider: Provider) -> int:
    """Returns the GPUs of one replica: of one that is launched here, those that it is given."""
    launched = provider.pool.gpus if provider.pool is not None else None
    return provider.gpus or launched or 1


def means_of(config: Config) -> dict[str, Means]:
    """Returns what each pool's price is made of, by provider: of the first of its deployments that is priced so."""
    means: dict[str, Means] = {}
    for deployment in config.deployments.values():
        provider = config.providers[deployment.provider]
        hour = _hour(provider)
        if hour is not None and deployment.price is None and deployment.provider not in means:
            speed = speed_of(provider, deployment)
            means[deployment.provider] = Means(hour, speed, provider.throughput is not None)
    return means


def _hour(provider: Provider) -> Hour | None:
    if provider.gpu_hour_usd is None:
        return None
    spare = SPARE_USD if provider.spare_usd is None else float(provider.spare_usd)
    return Hour(float(provider.gpu_hour_usd), gpus_of(provider), provider.target_load or TARGET, spare)
