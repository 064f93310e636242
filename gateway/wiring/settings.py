"""What services are set by, of a config."""

from __future__ import annotations

from gateway.admission import Limits
from gateway.breakers import Settings as BreakerSettings
from gateway.config import Config
from gateway.kept_content import KeepSettings


def limits_of(config: Config) -> Limits:
    """Returns how many calls may be under way and wait."""
    deployments = {name: each.in_flight for name, each in config.deployments.items() if each.in_flight is not None}
    return Limits(config.limits.in_flight, config.limits.queue, config.limits.queue_wait, deployments)


def keep_settings_of(config: Config) -> KeepSettings:
    """Returns how many translated answers are kept, and how long."""
    written = config.responses
    return KeepSettings(written.keep, written.ttl, written.max_entry, config.server.max_body)


def breaker_settings_of(config: Config) -> BreakerSettings:
    """Returns when breakers open, and for how long."""
    written = config.breakers
    return BreakerSettings(
        window_s=written.window,
        minimum_calls=written.minimum_calls,
        failure_rate=written.failure_rate,
        slow_rate=written.slow_rate,
        rest_s=written.rest,
        longest_rest_s=written.longest_rest,
        probes=written.probes,
    )
