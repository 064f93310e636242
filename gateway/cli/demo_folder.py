"""The demo's folder: its config, its keys, a store with the made-up month; made anew when the month has grown old."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

import gateway.demo
from gateway.auth import create_key, hash_of, principal_of
from gateway.config import Loaded
from gateway.core.errors import ConfigError
from gateway.core.types import Principal
from gateway.demo import KEYS, Month
from gateway.demo.rhythm import DAY_S
from gateway.snapshot import Snapshot
from gateway.state.protocols import KeyRow
from gateway.state.sqlite import SqliteStore
from gateway.wiring.compile import teams_of
from gateway.wiring.runtime import dry_compile, read_config

MARK: Final = "demo.json"
CONFIG: Final = Path(gateway.demo.__file__).parent / "config.yaml"
_DATABASE: Final = "headgate.db"
_OLD_S: Final = 3600.0
_BATCH: Final = 2000
_CHANGE_DAYS: Final = 12  # before the end: until then OpenAI's larger model cost more
_LIKE_NEW: Final = "  gpt: {provider: openai, model: gpt-5}\n"
_BEFORE: Final = (
    "  gpt: {provider: openai, model: gpt-5, "
    'price: {input: "1.50", cached_input: "0.15", output: "12.00"}}\n'
)  # fmt: skip


class Mark(msgspec.Struct, frozen=True):
    """What a folder holds: a month of so many calls that ends at `until`, and its keys in plain, by name."""

    seed: int = 0
    calls: int = 0
    until: float = 0.0
    keys: dict[str, str] = {}


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps a folder for one demo; raises ConfigError for one that is not a demo's, or that another demo has."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark = folder / MARK
    if not mark.exists() and any(folder.iterdir()):
        raise ConfigError([f"{folder} is there already and is no demo's: name another with --folder"])
    with mark.open("a") as file:
        mark.chmod(0o600)  # it holds keys
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError([f"another demo has {folder}: end it, or name another with --folder"]) from None
        yield


def prepared(folder: Path, environ: Mapping[str, str], *, seed: int, calls: int, now: float) -> tuple[Mark, bool]:
    """Returns what the folder holds, and whether it was filled just now; the folder must be `held`.

    A month that ended more than an hour ago, or that was another one, is made anew; the config stays as it is.
    """
    mark = _mark(folder)
    if (mark.seed, mark.calls) == (seed, calls) and 0 <= now - mark.until < _OLD_S:
        return mark, False
    _clear(folder)
    config = folder / "config.yaml"
    if not config.exists():
        shutil.copyfile(CONFIG, config)
    mark = Mark(seed, calls, float(int(now)), {owner.name: create_key()[0] for owner in KEYS})
    fill(folder, read_config(config, environ), eras(folder, environ, mark.until), mark)
    written = folder / f"{MARK}.new"
    written.touch(mode=0o600)
    written.write_bytes(msgspec.json.encode(mark))
    (folder / MARK).write_bytes(written.read_bytes())  # in place: the lock is on this very file
    written.unlink()
    return mark, True


def eras(folder: Path, environ: Mapping[str, str], until: float) -> list[tuple[float, Snapshot]]:
    """Returns the configs that served over the month: one price went down, where the config is the demo's own."""
    text = (folder / "config.yaml").read_text(encoding="utf-8")
    now = dry_compile(read_config(folder / "config.yaml", environ)).snapshot
    if _LIKE_NEW not in text:
        return [(0.0, now)]
    before = folder / "before.yaml"
    before.write_text(text.replace(_LIKE_NEW, _BEFORE), encoding="utf-8")
    try:
        old = dry_compile(read_config(before, environ)).snapshot
    finally:
        before.unlink()
    return [(0.0, old), (until - _CHANGE_DAYS * DAY_S, now)]


def owners(loaded: Loaded) -> dict[str, Principal]:
    """Returns whom each key stands for."""
    levels, teams = loaded.config.sensitivity.levels, teams_of(loaded.config)
    return {row.name: principal_of(row, levels, teams) for row in _rows({owner.name: "" for owner in KEYS}, 0.0)}


def fill(folder: Path, loaded: Loaded, served: list[tuple[float, Snapshot]], mark: Mark) -> None:
    """Fills the store: keys, prices, receipts."""
    store = SqliteStore(folder / _DATABASE)
    try:
        for row in _rows(mark.keys, mark.until - 30 * DAY_S):
            store.add_key(row)
        snapshots = [snapshot for _, snapshot in served]
        store.keep_prices(
            each.price for snapshot in snapshots for each in snapshot.deployments if each.price is not None
        )
        rows = Month(served, owners(loaded), mark.until, seed=mark.seed, calls=mark.calls).rows()
        while batch := list(islice(rows, _BATCH)):
            store.add_receipts(batch)
    finally:
        store.close()


def _rows(keys: Mapping[str, str], created_at: float) -> list[KeyRow]:
    return [
        KeyRow(
            hash=hash_of(keys[owner.name]),
            name=owner.name,
            team=owner.team,
            tags=owner.tags,
            created_at=created_at,
        )
        for owner in KEYS
    ]


def _mark(folder: Path) -> Mark:
    try:
        return msgspec.json.decode((folder / MARK).read_bytes(), type=Mark)
    except (OSError, msgspec.DecodeError):
        return Mark()  # empty: it was not filled to the end


def _clear(folder: Path) -> None:
    """Takes the old month away; its end, should this be broken off, is an empty mark."""
    (folder / MARK).write_bytes(b"")
    for file in folder.glob(f"{_DATABASE}*"):
        file.unlink()
    shutil.rmtree(folder / "journal", ignore_errors=True)
