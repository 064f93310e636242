"""The API of keys, budgets and teams, held to its own OpenAPI document by whatever schemathesis can think of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings

from gateway.accounting.budgets import Budgets
from gateway.accounting.journal import Journal
from gateway.accounting.ledger import Ledger
from gateway.accounting.limits import LimitRule, Limits
from gateway.accounting.rulebook import Rule, Rulebook
from gateway.admin.access import Credentials
from gateway.admin.app import Rooms, application
from gateway.admin.audit import Audit
from gateway.admin.budget_desk import BudgetDesk
from gateway.admin.keeper import Keeper
from gateway.admin.key_desk import KeyDesk, Surroundings
from gateway.admin.sessions import Sessions
from gateway.core.allowances import Budget, RateLimits
from gateway.state.protocols import KeyRow
from gateway.state.sqlite import SqliteStore
from tests.gateway.admin.rooms import ADMIN, Books, Levers

HEADERS = {"authorization": f"Bearer {ADMIN}"}
AROUND = Surroundings(
    ("public", "secret"),
    frozenset({"red"}),
    frozenset({"chat"}),
    frozenset({"chat"}),
    (KeyRow(hash="sha256:" + "0" * 64, name="written", team="red"),),
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    folder: Path = tmp_path_factory.mktemp("money")
    store = SqliteStore(folder / "headgate.db")
    ledger = Ledger(Journal(folder / "journal", sync="off"), store)
    budgets, limits = Budgets(lambda crossing: None), Limits()
    for rule in budgets.apply(
        Rulebook([Rule("team", "red", Budget(10**9, "month")), Rule("key", "*", Budget(0, "day"))])
    ):
        budgets.fill(rule, 0.0, {})
    limits.apply([LimitRule("key", "written", RateLimits(5, 5, 5))], 0.0)
    yield application(
        Rooms(
            keeper=Keeper(
                Credentials(hashlib.sha256(ADMIN.encode()).hexdigest(), lambda hash: None),
                Sessions(lambda: (60.0, 600.0)),
                list,
                None,
            ),
            audit=Audit(store),
            accounts=Books(),
            levers=Levers(),
            support=list,
            keys=KeyDesk(store, lambda: AROUND, lambda: None),
            budgets=BudgetDesk(budgets, limits, ledger, lambda: {"written": "red"}),
            teams=lambda: {"red": {"sensitivity": None, "tags": {}}},
        )
    )
    ledger.stop()
    store.close()


@pytest.fixture(scope="module")
def api(app: FastAPI) -> Any:
    return schemathesis.openapi.from_asgi("/admin/openapi.json", app, headers=HEADERS)


OPERATIONS = [
    ("/admin/keys", "GET"),
    ("/admin/keys", "POST"),
    ("/admin/keys/{name}", "GET"),
    ("/admin/keys/{name}", "PATCH"),
    ("/admin/keys/{name}", "DELETE"),
    ("/admin/keys/{name}/rotate", "POST"),
    ("/admin/budgets", "GET"),
    ("/admin/budgets/history", "GET"),
    ("/admin/limits", "GET"),
    ("/admin/teams", "GET"),
]


def test_every_path_is_asked(api: Any) -> None:
    ours = ("/admin/keys", "/admin/budgets", "/admin/limits", "/admin/teams")
    served = {(path, method.upper()) for path in api for method in api[path] if path.startswith(ours)}
    assert served == set(OPERATIONS)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_nothing_that_can_be_asked_breaks_it(api: Any, path: str, method: str) -> None:
    @given(case=api[path][method].as_strategy())
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def asked(case: schemathesis.Case) -> None:
        got = case.call(headers=HEADERS)
        assert got.status_code < 500, got.text
        if got.status_code >= 400:
            assert {"message", "type", "param", "code"} == got.json()["error"].keys()
        elif got.status_code != 204:
            assert got.headers["content-type"] == ["application/json"]
            assert "sha256:" not in got.text

    asked()


@pytest.mark.parametrize(
    "path", ["/admin/keys", "/admin/keys/written", "/admin/budgets", "/admin/limits", "/admin/teams"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_whoever_shows_no_key_gets_nothing(app: FastAPI, method: str, path: str) -> None:
    import httpx

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gate.example") as client:
        for headers in ({}, {"authorization": "Bearer hg-nobody"}):
            assert (await client.request(method, path, headers=headers, json={})).status_code == 401
