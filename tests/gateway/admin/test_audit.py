"""The audit log: everything is kept, no secret is, and it is read by admins a page at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from gateway.admin.access import Visitor
from gateway.admin.audit import REDACTED, Audit, redacted
from gateway.state.audit import AuditRow
from gateway.state.protocols import StoreUnavailable
from tests.gateway.admin.rooms import ADMIN, place, row

ADA = Visitor("ada", "owner", "sales")


class Store:
    """A store that is away when it is told to be."""

    def __init__(self) -> None:
        self.away = False
        self.rows: list[AuditRow] = []

    def add_audit(self, rows: Iterable[AuditRow]) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.rows += rows

    def audit(self, where: Sequence[tuple[str, str]], before: tuple[float, str] | None, limit: int) -> list[AuditRow]:
        return self.rows[::-1][:limit]


def test_a_change_waits_for_a_store_that_is_away() -> None:
    store = Store()
    audit = Audit(store)
    store.away = True
    audit.tell(ADA, "key.disabled", "keys/bob", {"enabled": True}, {"enabled": False})
    audit.tell(ADA, "key.enabled", "keys/bob")
    assert store.rows == []
    store.away = False
    assert [each.what for each in audit.list()] == ["key.enabled", "key.disabled"]
    audit.tell(ADA, "key.renamed", "keys/bob")
    assert [each.what for each in store.rows] == ["key.disabled", "key.enabled", "key.renamed"]


@pytest.mark.parametrize(
    "kept",
    [
        {"hash": "sha256:" + "a" * 64}, {"api_key": "plain"}, {"provider": {"api_keys": ["one", "two"]}},
        {"webhook": {"signing_secret": "s3cret"}}, {"Authorization": "Bearer x"}, "key sk-proj-abcdefghijkl01234",
        ["hg-abcdefghijklmnop"], {"url": "postgresql://me:pass@db/x"}, "sha256:" + "0" * 64, {"password": 5},
    ],
)  # fmt: skip
def test_no_secret_is_kept(kept: object) -> None:
    store = Store()
    Audit(store).tell(ADA, "config.edited", "config", None, kept)
    assert REDACTED in (store.rows[0].after or "")
    for secret in ("aaaa", "plain", "one", "s3cret", "Bearer x", "sk-proj", "hg-abc", "pass@", "0000", "5"):
        assert secret not in (store.rows[0].after or "")


def test_what_is_no_secret_is_kept_as_it_is() -> None:
    told = {"key": "alice", "tokens_per_minute": 5, "name": "hg-a", "models": ["sk-1"], "cost": 1.5, "team": None}
    assert redacted(told) == told


async def test_admins_read_it_a_page_at_a_time(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        here.rows = [row("ada", "owner", "sales"), row("vi", "viewer")]
        for number in range(5):
            here.audit.tell(ADA, "key.edited", f"keys/{number}", {"n": number}, None)
        async with here.client(ADMIN) as client:
            await client.post("/admin/breakers/only%230?state=open")
            first = (await client.get("/admin/audit?limit=3")).json()
            assert first["changes"][0] | {"id": "", "at": 0} == {
                "id": "", "at": 0, "who": "admin", "role": "admin", "team": None, "what": "breaker.opened",
                "object": "breakers/only#0", "before": {"state": "closed"}, "after": {"state": "open"},
            }  # fmt: skip
            second = (await client.get("/admin/audit", params={"limit": 3, "before": first["next"]})).json()
            objects = [change["object"] for change in first["changes"] + second["changes"]]
            assert objects == ["breakers/only#0", "keys/4", "keys/3", "keys/2", "keys/1", "keys/0"]
            assert second["next"] is None
            found = (await client.get("/admin/audit?who=ada&object=keys/2")).json()["changes"]
            assert [change["before"] for change in found] == [{"n": 2}]
            for wrong in ("limit=0", "limit=1001", "limit=x", "before=x", "before=1.5.2~a"):
                assert (await client.get(f"/admin/audit?{wrong}")).status_code == 400
        async with here.client("hg-ada") as client:
            assert (await client.get("/admin/audit")).status_code == 403
        async with here.client("hg-vi") as client:
            assert (await client.get("/admin/audit")).status_code == 200


def test_a_row_is_json(tmp_path: Path) -> None:
    store = Store()
    Audit(store).tell(ADA, "x", "y", {"a": ("b", {"c": None})}, {"tags": {"<script>": "=1+1"}})
    assert json.loads(store.rows[0].before or "") == {"a": ["b", {"c": None}]}
