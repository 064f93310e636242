"""The keys' desk over a config, for the admin surface and the command line alike."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.admin.key_desk import Surroundings
from gateway.config import Config
from gateway.config.checks import names_of_models
from gateway.state.protocols import KeyRow
from gateway.wiring.compile import written_keys


def surroundings_of(config: Config, stored: Sequence[KeyRow] = ()) -> Surroundings:
    """Returns what a key may name in a config."""
    return Surroundings(
        tuple(config.sensitivity.levels),
        frozenset(config.teams),
        frozenset(names_of_models(config)),
        frozenset(route.name for route in config.policies.routes),
        tuple(written_keys(config)),
        tuple(stored),
    )
