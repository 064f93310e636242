"""The databases that stores are tried on: a file for each test, and one PostgreSQL server for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.state.postgres import PostgresStore
from gateway.state.protocols import Store
from gateway.state.sqlite import SqliteStore
from tests.gateway.state.servers import PostgresServer, postgres_server


class Database(NamedTuple):
    """An empty database. `script` opens it in another process."""

    open: Callable[[], Store]
    script: str


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        file = tmp_path / "headgate.db"
        return Database(
            lambda: SqliteStore(file),
            f"from pathlib import Path; from gateway.state.sqlite import *; SqliteStore(Path({str(file)!r}))",
        )
    url = request.getfixturevalue("server").new_database()
    return Database(lambda: PostgresStore(url), f"from gateway.state.postgres import *; PostgresStore({url!r}).close()")


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    store = database.open()
    yield store
    store.close()
