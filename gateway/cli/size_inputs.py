"""What `headgate size` reads: models on disk, hosted prices of the config, the ledger, logs and metrics of a vLLM."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from gateway.accounting.costs import Costs
from gateway.cli.store import open_store
from gateway.core.money import INPUT_BUCKETS, NANO_PER_USD, OUTPUT_BUCKETS, rate_of
from gateway.pool.planner.architecture import Architecture, BadModel, architecture_of
from gateway.pool.planner.calibrate import Live, read_metrics
from gateway.pool.planner.checkpoint import PREFIX_BYTES, Checkpoint, header_length, read_headers
from gateway.pool.planner.known import known
from gateway.pool.planner.load import Hour, Load, load_from
from gateway.pool.planner.price import Hosted
from gateway.pool.planner.quantisation import Format, UnknownWord, format_in
from gateway.wiring.accounts import Accounts
from gateway.wiring.runtime import dry_compile, read_config

_CONFIG: Final = "config.json"
_MAX_CONFIG_BYTES: Final = 10_000_000
_MAX_METRICS_BYTES: Final = 50_000_000
_OWN: Final = ("vllm", "simulator")
_TIMEOUT_S: Final = 5.0


def read_model(word: str) -> tuple[Architecture, Format, Checkpoint | None]:
    """Reads a model by name, by its config.json or by its folder; raises UnknownWord, BadModel, OSError."""
    path = Path(word)
    if not path.exists():
        if path.suffix == ".json" or word.startswith((".", "/", "~")):
            raise BadModel(f"there is no file {word}")
        return *known(word), None
    folder = path if path.is_dir() else path.parent
    config = _json(path / _CONFIG if path.is_dir() else path)
    model = architecture_of(config, folder.resolve().name if path.is_dir() else path.stem, str(path))
    files = sorted(folder.glob("*.safetensors")) if path.is_dir() else []
    checkpoint = read_headers((_header(file) for file in files), model.layers) if files else None
    return model, format_in(config), checkpoint


def _json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise BadModel(f"{path} is too large to be a config.json")
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadModel(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadModel(f"{path} is no config: an object is wanted")
    return found


def _header(path: Path) -> bytes:
    """Reads a file's header alone, a few megabytes of many gigabytes."""
    with path.open("rb") as file:
        length = header_length(file.read(PREFIX_BYTES))
        header = file.read(length)
    if len(header) != length:
        raise BadModel(f"{path} is cut within its header")
    return header


def read_hosted(config: Path, against: Sequence[str], is_given: bool) -> tuple[Hosted, ...]:
    """Returns the prices given (`NAME=in:out`), else those of the config's hosted deployments.

    Without a config, and none asked for, there are none. Raises ConfigError.
    """
    if against:
        return tuple(_against(text) for text in against)
    if not config.exists() and not is_given:
        return ()
    compiled = dry_compile(read_config(config, os.environ))
    found = []
    for deployment in compiled.snapshot.deployments:
        price = deployment.price
        if deployment.kind in _OWN or deployment.location == "self_hosted" or price is None or price.source == "free":
            continue
        rates = price.tiers[0][1]
        dollars = [rate_of(rates, bucket) / NANO_PER_USD for bucket in ("fresh_input", "cached_input", "output_text")]
        found.append(Hosted(deployment.name, *dollars))
    return tuple(found)


def _against(text: str) -> Hosted:
    name, equals, prices = text.rpartition("=")
    try:
        amounts = [float(each) for each in prices.split(":")]
    except ValueError:
        amounts = []
    if not equals or len(amounts) not in (2, 3) or not all(0 <= each < 1e6 for each in amounts):
        raise UnknownWord(f"{text!r} is no price: write NAME=IN:OUT in dollars per million tokens, such as mini=0.25:2")
    return Hosted(name, amounts[0], amounts[2] if len(amounts) == 3 else amounts[0], amounts[1])


def read_ledger(config: Path, since: str, until: str | None, where: Sequence[str]) -> Load:
    """Sums the ledger by hours into a load; raises ConfigError, CallError, UnknownWord."""
    parameters = {"group_by": "hour", "since": since} | ({"until": until} if until else {})
    for each in where:
        name, separator, value = each.partition("=")
        if not separator:
            raise click.BadParameter(f"{each!r}: write GROUP=VALUE", param_hint="--where")
        parameters[name] = value
    with open_store(config, os.environ) as store:
        sums = Accounts(store).sums(parameters)
    return load_from(list(_hours(sums)), _span_s(sums), f"the ledger, {sums.since} to {sums.until}")


def _hours(sums: Costs) -> Iterator[Hour]:
    """An answer out of the gateway's cache, or an error, is no work for a GPU."""
    for row in sums.rows:
        cached = row.tokens.get("cached_input", 0)
        tokens = sum(row.tokens.get(bucket, 0) for bucket in INPUT_BUCKETS)
        output = sum(row.tokens.get(bucket, 0) for bucket in OUTPUT_BUCKETS)
        yield Hour(max(0, row.calls - row.errors - row.cached), tokens - cached, cached, output)


def _span_s(sums: Costs) -> float:
    """From the first hour that has calls to the end: a gateway that is younger than --since was not idle before."""
    end = datetime.fromisoformat(sums.until).timestamp()
    begin = datetime.fromisoformat(sums.since).timestamp()
    if sums.rows:
        try:
            first = datetime.fromisoformat(sums.rows[0].group)
            begin = max(begin, (first if first.tzinfo else first.replace(tzinfo=UTC)).timestamp())
        except ValueError:
            pass
    return max(3600.0, end - begin)


def read_live(word: str, over_s: float) -> Live:
    """Reads a file of metrics, or a vLLM's /metrics twice, `over_s` apart; raises OSError, BadModel."""
    if not word.startswith(("http://", "https://")):
        return read_metrics(Path(word).read_text(errors="replace"))
    first = _fetched(word)
    time.sleep(over_s)
    return read_metrics(first, _fetched(word), over_s)


def _fetched(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            body: bytes = answer.read(_MAX_METRICS_BYTES)
    except urllib.error.URLError as error:
        raise BadModel(f"{url} gives no metrics: {error.reason}") from None
    except HTTPException as error:
        raise BadModel(f"{url} does not speak HTTP: {type(error).__name__}") from None
    return body.decode(errors="replace")
