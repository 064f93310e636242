"""Headgate's configs under measure: everything on, and the same with more keys, deployments or rules."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

from gateway.state import sql
from gateway.state.protocols import KeyRow
from gateway.state.sqlite import SqliteStore

Config = dict[str, Any]

KEY = "hg-bench-0123456789abcdef0123456789abcdef"
_PER_ROUTE = 10


def _hash(key: str) -> str:
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def everything_on(upstream: int, deployments: int = 10) -> Config:
    """Key, sensitivity scan, guarantees, a route by cost, breaker, receipt, metrics: what a guarded gateway does."""
    names = [f"bench-{index}" for index in range(deployments)]
    base_url = f"http://127.0.0.1:{upstream}/v1"
    return {
        "auth": "keys",
        "keys": [{"name": "bench", "team": "bench", "hash": _hash(KEY)}],
        "teams": {"bench": {"sensitivity": "public"}},
        "providers": {"up": {"kind": "openai", "base_url": base_url, "api_key": "x", "location": "us"}},
        "deployments": {name: _deployment("up", index) for index, name in enumerate(names)},
        "sensitivity": {
            "levels": ["public", "internal", "confidential", "restricted"],
            "default": "internal",
            "clearance": {"self_hosted": "restricted", "eu": "confidential", "us": "confidential"},
            "from": [
                {"header": "x-data-sensitivity"},
                {"key": "sensitivity"},
                {"detector": "pii", "level": "confidential"},
                {"detector": "secrets", "level": "confidential"},
            ],
        },
        "policies": {
            "guarantees": [
                {"name": "cap", "require": {"max_price": {"input": "50.00", "output": "200.00"}}},
                {
                    "name": "bench-stays",
                    "when": {"team": ["bench"]},
                    "require": {"location": ["us", "eu", "self_hosted"]},
                },
            ],
            "routes": [
                {"name": "bench", "when": {"model": ["bench"]}, "among": names, "pick": "cheapest"},
                {"name": "default", "among": "all", "pick": "balanced"},
            ],
        },
    }


def translating(upstream: int) -> Config:
    """The same, and a model `bench-translated` behind Anthropic's wire."""
    config = everything_on(upstream)
    base_url = f"http://127.0.0.1:{upstream}/v1"
    config["providers"]["other"] = {"kind": "anthropic", "base_url": base_url, "api_key": "x", "location": "us"}
    config["deployments"]["bench-translated"] = _deployment("other", 0)
    return config


def holding(upstream: int, calls: int) -> Config:
    """The same, with room for so many calls in flight."""
    return everything_on(upstream) | {"limits": {"in_flight": calls}}


def many_deployments(upstream: int, count: int) -> Config:
    """The same with so many deployments, ten a route, and the route of the calls behind all others."""
    config = everything_on(upstream, _PER_ROUTE)
    routes = config["policies"]["routes"]
    for first in range(_PER_ROUTE, count, _PER_ROUTE):
        names = [f"other-{index}" for index in range(first, first + _PER_ROUTE)]
        config["deployments"] |= {name: _deployment("up", index) for index, name in enumerate(names)}
        when = {"model": [f"other-{first}-model"]}
        routes.insert(-2, {"name": f"other-{first}", "when": when, "among": names, "pick": "cheapest"})
    return config


def many_rules(upstream: int, count: int) -> Config:
    """The same with so many rules, half guarantees and half routes; each has a condition to look at, none is met."""
    config = everything_on(upstream, 2)
    guarantees, routes = config["policies"]["guarantees"], config["policies"]["routes"]
    ours = len(guarantees) + len(routes) + 1  # clearance is built in
    conditions = (
        lambda index: {"model": [f"model-{index}-*"]},
        lambda index: {"user": [f"user-{index}"]},
        lambda index: {"tag": {"app": [f"app-{index}"]}},
        lambda index: {"model": ["bench"], "prompt_tokens_over": 100_000 - index},
        lambda index: {"model": ["bench"], "sensitivity": "confidential", "tag": {"app": [f"app-{index}"]}},
    )
    for index in range(count - ours):
        rule: Config = {"name": f"rule-{index}", "when": conditions[index // 2 % len(conditions)](index)}
        if index % 2:
            guarantees.append(rule | {"require": {"location": ["us", "eu"]}})
        else:
            routes.insert(-2, rule | {"among": ["bench-0"], "pick": "in_order"})
    return config


def add_keys(database: Path, count: int) -> None:
    """Puts so many keys of others into a new store, in one transaction."""
    SqliteStore(database).close()
    rows = [
        sql.key_values(KeyRow(hash=_hash(f"other-{index}"), name=f"other-{index}", created_at=float(index)))
        for index in range(count)
    ]
    with sqlite3.connect(database) as connection:
        places = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO keys ({sql.KEY_COLUMNS}) VALUES ({places})", rows)
    connection.close()


def _deployment(provider: str, index: int) -> Config:
    price = {"input": f"{1 + index / 10:.1f}", "output": "2.00"}
    return {"provider": provider, "model": "bench-model", "price": price}
