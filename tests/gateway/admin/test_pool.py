"""`/admin/pool` over HTTP: who may do what to pools that are launched here, what is answered, what is kept of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.admin.api import pool
from gateway.core.errors import CallError
from gateway.pool.events import EventRing
from gateway.pool.fleet import Fleet
from gateway.pool.found import FoundPools
from gateway.pool.router import Pools
from gateway.pool.states import UnknownReplica
from gateway.wiring.pool_desk import PoolDesk
from tests.gateway.admin.rooms import ADMIN, Place, place, row
from tests.gateway.wiring.test_pool_desk import Launched


@pytest.fixture
def launched() -> Launched:
    return Launched()


@pytest.fixture
async def here(tmp_path: Path, launched: Launched) -> AsyncIterator[Place]:
    fleet = Fleet(Pools(), {}, {})
    desk = PoolDesk(fleet, FoundPools(fleet, lambda endpoint: None), EventRing(), launched)
    with place(tmp_path) as made:
        made.rows += [row("looks", "viewer"), row("owns", "owner", "sales")]
        made.app.include_router(pool.router(desk, made.audit))
        yield made
    await desk.close()


async def ask(here: Place, method: str, path: str, key: str = ADMIN, body: object = None) -> httpx.Response:
    async with here.client(key) as client:
        return await client.request(method, path, json=body)


async def test_what_is_asked_is_done_and_kept_in_the_audit_log(here: Place, launched: Launched) -> None:
    for path, body in (
        ("lab/restart", None), ("lab/scale", {"replicas": 3}), ("lab/0/drain", None), ("lab/1/restart", None),
    ):  # fmt: skip
        got = await ask(here, "POST", f"/admin/pool/{path}", body=body)
        assert (got.status_code, got.json()) == (200, {"done": True})
    assert launched.asked == [
        ("restart", "lab", None), ("scale", "lab", 3), ("drain", "lab", "0"), ("restart", "lab", "1"),
    ]  # fmt: skip
    kept = [(each.what, each.object, each.before, each.after) for each in reversed(here.audit.list())]
    assert kept == [
        ("pool.restarted", "pool/lab", None, None),
        ("pool.scaled", "pool/lab", '{"replicas":2}', '{"replicas":3}'),
        ("replica.drained", "pool/lab/0", None, None),
        ("replica.restarted", "pool/lab/1", None, None),
    ]


async def test_what_goes_on_is_answered_as_accepted(
    here: Place, launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.wiring.pool_desk.AT_ONCE_S", 0.01)
    launched.may_end.clear()
    got = await ask(here, "POST", "/admin/pool/lab/restart")
    assert (got.status_code, got.json()) == (202, {"done": False})
    events = (await ask(here, "GET", "/admin/pool/events")).json()["events"]
    assert [(each["serial"], each["what"], each["why"]) for each in events] == [(1, "restart", "asked for")]
    assert (await ask(here, "GET", "/admin/pool/events?after=1")).json() == {"events": []}


async def test_only_admins_steer_and_owners_of_a_team_see_nothing_of_pools(here: Place, launched: Launched) -> None:
    assert (await ask(here, "GET", "/admin/pool", "hg-looks")).status_code == 200
    assert (await ask(here, "GET", "/admin/pool/lab/0/logs?lines=1", "hg-looks")).json()["lines"] == ["line 0"]
    for key in ("hg-looks", "hg-owns"):
        assert (await ask(here, "POST", "/admin/pool/lab/0/drain", key)).status_code == 403
    assert (await ask(here, "GET", "/admin/pool", "hg-owns")).status_code == 403
    assert (await ask(here, "GET", "/admin/pool", "hg-nobody")).status_code == 401
    assert launched.asked == []


async def test_what_cannot_be_is_the_callers_fault(here: Place, launched: Launched) -> None:
    for body in ({}, {"replicas": -1}, {"replicas": "many"}, {"replicas": 10_000}):
        assert (await ask(here, "POST", "/admin/pool/lab/scale", body=body)).status_code == 400
    assert (await ask(here, "GET", "/admin/pool/lab/0/logs?lines=0")).status_code == 400
    assert (await ask(here, "GET", "/admin/pool/lab/9/logs")).status_code == 404
    launched.error = UnknownReplica("pool 'lab' has no replica '9': 0, 1")
    got = await ask(here, "POST", "/admin/pool/lab/9/drain")
    assert (got.status_code, got.json()["error"]["code"]) == (404, "replica_not_found")
    launched.error = CallError("there is no free GPU for another", status=409, code="no_free_gpu")
    got = await ask(here, "POST", "/admin/pool/lab/scale", body={"replicas": 9})
    assert (got.status_code, got.json()["error"]["message"]) == (409, "there is no free GPU for another")
    assert here.audit.list() == []
