"""An admin surface without a gateway behind it: for what is about who may do what, and not about what is told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from fastapi import FastAPI

from gateway.admin.access import Credentials, hash_of
from gateway.admin.app import Rooms, application
from gateway.admin.audit import Audit
from gateway.admin.keeper import Keeper
from gateway.admin.sessions import Sessions
from gateway.admin.throttle import Throttle
from gateway.state.sqlite import SqliteStore

ADMIN = "hg-admin-of-the-rooms"


class Row(msgspec.Struct):
    """A key with a role."""

    name: str
    hash: str
    role: str | None = None
    team: str | None = None
    enabled: bool = True
    expires_at: float | None = None


def row(name: str, role: str | None = None, team: str | None = None) -> Row:
    """Returns a key whose plain text is "hg-" and its name."""
    return Row(name, hash_of(f"hg-{name}"), role, team)


class Books:
    """Books that tell back what they were asked."""

    def costs(self, parameters: Iterable[tuple[str, str]], only_team: str | None = None) -> bytes:
        return msgspec.json.encode({**dict(parameters), "only_team": only_team})

    def costs_csv(self, parameters: Iterable[tuple[str, str]], only_team: str | None = None) -> str:
        return "group\n"

    def log(self, parameters: Iterable[tuple[str, str]], only_team: str | None = None) -> bytes:
        return self.costs(parameters, only_team)

    summary = movers = log

    def gpus(self, parameters: Iterable[tuple[str, str]]) -> bytes:
        return self.costs(parameters)

    def receipt(self, id: str, only_team: str | None = None) -> Mapping[str, Any]:
        return {"id": id, "only_team": only_team}

    def decision(self, id: str) -> Mapping[str, Any]:
        return {"id": id, "receipt": {"team": id}}


class Levers:
    """One endpoint, and its breaker."""

    def __init__(self) -> None:
        self.state = "closed"

    def conditions(self) -> list[Mapping[str, Any]]:
        return [{"endpoint": "only#0", "state": self.state}]

    def force(self, endpoint: str, state: str) -> Mapping[str, Any]:
        self.state = state
        return self.conditions()[0]


class Place:
    """The surface, its keys, and a clock that stands until it is set."""

    def __init__(self, store: SqliteStore, loopback: bool, hosts: Sequence[str]) -> None:
        self.now = 1000.0
        self.rows: list[Row] = []
        self.levers = Levers()
        self.audit = Audit(store)
        self.limits = (60.0, 600.0)
        clock = lambda: self.now  # noqa: E731 - both clocks are this one
        self.keeper = Keeper(
            Credentials(hashlib.sha256(ADMIN.encode()).hexdigest(), self.find, clock),  # type: ignore[arg-type,return-value]
            Sessions(lambda: self.limits, clock),
            lambda: hosts,
            (lambda headers, method: None) if loopback else None,
            Throttle(3, 10.0, 4, clock),
            Throttle(5, 1.0, 4, clock),
        )
        self.app: FastAPI = application(
            Rooms(
                keeper=self.keeper,
                audit=self.audit,
                accounts=Books(),
                levers=self.levers,
                support=list,
                max_body=1000,
            )
        )

    def find(self, hash: str) -> Row | None:
        return next((each for each in self.rows if each.hash == hash), None)

    def client(self, key: str | None = None, address: str = "192.0.2.1") -> httpx.AsyncClient:
        """Returns somebody who calls from an address, with a key where one is named."""
        transport = httpx.ASGITransport(self.app, client=(address, 1), raise_app_exceptions=True)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(transport=transport, base_url="http://gate.example", headers=headers)


@contextmanager
def place(folder: Path, *, loopback: bool = False, hosts: Sequence[str] = ()) -> Iterator[Place]:
    """Makes a surface with an audit log of its own."""
    store = SqliteStore(folder / "headgate.db")
    try:
        yield Place(store, loopback, hosts)
    finally:
        store.close()
