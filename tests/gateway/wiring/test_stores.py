import sys
from pathlib import Path

import pytest

from gateway.core.errors import ConfigError
from gateway.state.protocols import StoreUnavailable
from gateway.state.sqlite import SqliteStore
from gateway.wiring.runtime import read_config
from gateway.wiring.stores import store_of


def written(folder: Path, url: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(f'auth: open\nstore: {{url: "{url}"}}\n')
    return path


def test_a_file_is_opened_where_the_config_says(tmp_path: Path) -> None:
    store = store_of(read_config(written(tmp_path, f"sqlite:///{tmp_path}/x.db"), {}))
    assert isinstance(store, SqliteStore)
    store.close()
    assert (tmp_path / "x.db").exists()


def test_a_missing_client_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = read_config(written(tmp_path, "postgresql://me:hidden@db/headgate"), {})
    for module in ("gateway.state.postgres", "gateway.state.postgres_session"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"config\.yaml:2:14: .*pip install 'headgate\[postgres\]'") as refused:
        store_of(loaded)
    assert "hidden" not in str(refused.value)


def test_a_url_that_is_none_is_named_with_its_place(tmp_path: Path) -> None:
    loaded = read_config(written(tmp_path, "${DATABASE_URL}"), {"DATABASE_URL": "postgresql://me:%zz@db/hidden"})
    with pytest.raises(ConfigError, match=r"config\.yaml:2:14: write postgresql://") as refused:
        store_of(loaded)
    assert "hidden" not in str(refused.value)


def test_a_server_that_cannot_be_reached_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"PostgreSQL store: .*refused"):
        store_of(read_config(written(tmp_path, "postgres://127.0.0.1:9/x"), {}))
