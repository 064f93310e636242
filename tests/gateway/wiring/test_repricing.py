"""A measured speed becomes the price of the config that serves, and every price is kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import ConfigError
from gateway.wiring.runtime import Runtime, dry_compile, read_config

LAB = {
    "kind": "vllm", "endpoints": ["http://127.0.0.1:9/v1", "http://127.0.0.2:9/v1"], "gpu_hour_usd": "2.50",
    "gpu": "h100",
}  # fmt: skip
OWN = {"provider": "lab", "model": "ours", "base_model": "llama-3.1-8b"}


def write(
    path: Path, lab: dict[str, Any] = LAB, own: dict[str, Any] = OWN, guarantees: list[dict[str, Any]] | None = None
) -> Path:
    config = {
        "auth": "open",
        "providers": {"lab": lab},
        "deployments": {"own": own},
        "policies": {
            "guarantees": guarantees or [],
            "routes": [{"name": "chat", "when": {"model": ["chat"]}, "among": "all", "pick": "cheapest"}],
        },
        "store": {"url": f"sqlite:///{path}/headgate.db", "journal": f"{path}/journal"},
    }
    (path / "config.yaml").write_text(json.dumps(config))
    return path / "config.yaml"


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    runtime = Runtime(write(tmp_path, guarantees=[{"name": "cap", "require": {"max_price": {"output": "1.00"}}}]), {})
    await runtime.start()
    yield runtime
    await runtime.stop()


async def test_a_measured_speed_is_served_as_a_price_of_its_own_version(runtime: Runtime) -> None:
    (own,) = runtime.pipeline.snapshot.deployments
    assert own.price is not None
    assert own.own is not None
    assert (own.price.source, own.price.tiers[0][1].output_text) == ("estimate", 146_808_568)
    member = runtime.pool.fleet.members["lab"]
    member.factor.value = 0.5
    await runtime.reprice(["lab"])
    (again,) = runtime.pipeline.snapshot.deployments
    assert again.price is not None
    assert again.own is not None
    assert (again.price.source, again.price.tiers[0][1].output_text) == ("measured", 293_617_136)
    assert again.own.spare.output_text == own.own.spare.output_text == 12_500_000
    assert runtime.pipeline.snapshot.revision == 1  # it is the same config
    for price in (own.price, again.price):
        assert runtime.store.price(price.version) == price
    (event,) = runtime.events.after()
    assert (event.what, event.facts["full_nano_usd"]) == ("repriced", {"own": [130_612_637, 293_617_136]})
    await runtime.reload()  # of the same file: what was measured holds
    assert runtime.pipeline.snapshot.deployments[0].price == again.price
    assert runtime.pool.fleet.members["lab"] is member


async def test_a_price_that_the_rules_forbid_is_refused_and_the_old_one_serves_on(runtime: Runtime) -> None:
    before = runtime.pipeline.snapshot
    runtime.pool.fleet.members["lab"].factor.value = 0.05  # $2.94 a million, over the cap
    await runtime.reprice(["lab"])
    assert runtime.pipeline.snapshot is before
    assert runtime.pool.fleet.factors == {}


def test_a_speed_that_is_written_is_charged_as_it_is(tmp_path: Path) -> None:
    lab = {name: value for name, value in LAB.items() if name != "gpu"}
    lab |= {"throughput": {"input": 7000, "output": 700}, "target_load": 1, "gpus": 2, "spare_usd": "0.05"}
    compiled = dry_compile(read_config(write(tmp_path, lab, {"provider": "lab", "model": "anything"}), {}))
    (own,) = compiled.snapshot.deployments
    assert own.price is not None
    assert own.own is not None
    assert own.price.source == "throughput"
    assert own.price.tiers[0][1].output_text == 1_984_126_984  # $5 an hour, 700 a second
    assert (own.own.spare.fresh_input, own.own.spare.output_text) == (5_000_000, 50_000_000)


def test_a_price_that_is_written_goes_before_that_of_the_gpus(tmp_path: Path) -> None:
    compiled = dry_compile(read_config(write(tmp_path, own={**OWN, "price": {"input": "1", "output": "2"}}), {}))
    (own,) = compiled.snapshot.deployments
    assert own.price is not None
    assert (own.price.source, own.own) == ("config", None)


@pytest.mark.parametrize(
    ("lab", "own", "told"),
    [
        ({"gpu": "h101"}, {}, "h100"),
        ({}, {"base_model": "lama-3.1-8b"}, "did you mean"),
        ({"gpu": "l4"}, {"base_model": "70b"}, "does not run on 1"),
        ({"gpu": None}, {}, "a price takes a speed"),
        ({"gpu_hour_usd": None}, {}, "write gpu_hour_usd too"),
        ({"kind": "openai", "endpoints": None, "base_url": "http://127.0.0.1:9"}, {}, "only the kind vllm takes gpu"),
        ({"gpu_hour_usd": 2.5}, {}, "money is text"),
        ({"gpu_hour_usd": "0"}, {}, "price: free"),
        ({"target_load": 1.5}, {}, "less than or equal to 1"),
    ],
)
def test_what_makes_no_price_is_refused_with_the_reason(
    lab: dict[str, Any], own: dict[str, Any], told: str, tmp_path: Path
) -> None:
    written = {name: value for name, value in {**LAB, **lab}.items() if value is not None}
    with pytest.raises(ConfigError, match=told):
        dry_compile(read_config(write(tmp_path, written, {**OWN, **own}), {}))
