"""The configs that are measured are what they are said to be, and serve."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.auth import hash_of
from gateway.state.sqlite import SqliteStore
from gateway.wiring.compile import Compiled
from gateway.wiring.runtime import dry_compile, read_config
from tests.bench.configs import (
    Config,
    add_keys,
    everything_on,
    holding,
    many_deployments,
    many_rules,
    translating,
)


def compiled(config: Config, folder: Path) -> Compiled:
    file = folder / "config.yaml"
    file.write_text(json.dumps(config))
    return dry_compile(read_config(file, {}))


@pytest.mark.parametrize("config", [everything_on(9), everything_on(9, 2), translating(9), holding(9, 10_000)])
def test_each_config_can_serve(config: Config, tmp_path: Path) -> None:
    snapshot = compiled(config, tmp_path).snapshot
    assert all(deployment.disabled is None for deployment in snapshot.deployments)


def test_a_grown_config_has_so_many_deployments_at_ten_a_route(tmp_path: Path) -> None:
    snapshot = compiled(many_deployments(9, 100), tmp_path).snapshot
    assert len(snapshot.deployments) == 100
    *routes, default = snapshot.routing.routes
    assert [len(route.among) for route in routes] == [10] * 10
    assert routes[-1].name == "bench"
    assert default.name == "default"


def test_a_grown_config_has_so_many_rules_and_the_calls_pass_them_all(tmp_path: Path) -> None:
    config = many_rules(9, 100)
    guarantees, routes = config["policies"]["guarantees"], config["policies"]["routes"]
    assert len(guarantees) + len(routes) + 1 == 100
    assert [rule["name"] for rule in routes[-2:]] == ["bench", "default"]
    assert compiled(config, tmp_path).snapshot.routing.routes[-2].name == "bench"


def test_keys_of_others_are_put_into_the_store(tmp_path: Path) -> None:
    add_keys(tmp_path / "store.db", 20)
    store = SqliteStore(tmp_path / "store.db")
    try:
        keys = store.keys()
    finally:
        store.close()
    assert len(keys) == 20
    assert keys[7].hash == hash_of("other-7")
