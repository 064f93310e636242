"""`headgate size` as it is called: models on disk, the config's prices, the ledger, a log, metrics."""

from __future__ import annotations

import json
import re
import struct
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.pool.planner.known import KNOWN
from gateway.state.protocols import ReceiptRow
from gateway.state.sqlite import SqliteStore

CONFIG = """
auth: open
providers:
  demo: {kind: simulator}
  openai: {kind: openai, api_key: "${OPENAI_API_KEY}", location: us, retention: 30d}
deployments:
  demo: {provider: demo, model: demo, price: {input: "0.25", output: "2.00"}}
  mini: {provider: openai, model: gpt-5-mini, price: {input: "0.40", cached_input: "0.10", output: "1.60"}}
sensitivity: {levels: [public], default: public, clearance: {us: public}}
policies:
  routes: [{name: default, among: [mini, demo], pick: cheapest}]
store: {url: "sqlite:///ledger.db"}
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(CONFIG)


def _size(*words: str) -> Result:
    return CliRunner().invoke(main, ["size", *words])


def _said(*words: str) -> str:
    got = _size(*words)
    assert got.exit_code == 0, got.output
    return got.output


def _data(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_said(*words, "--json"))
    return found


def test_a_model_by_name_is_sized_and_held_against_the_configs_prices() -> None:
    said = _said("--model", "70b", "--gpu", "h100")
    assert "llama-3.3-70b · fp16 weights · bf16 KV · 4×H100" in said
    assert "  mini " in said
    assert "  demo " not in said  # a simulator is no hosted price


def test_without_a_config_there_are_no_hosted_prices_unless_they_are_given() -> None:
    Path("config.yaml").unlink()
    assert "--against" in _said("--model", "8b", "--gpu", "l40s")
    assert "break-even with hosted prices" in _said("--model", "8b", "--gpu", "l40s", "--against", "mini=0.25:2")
    assert _size("--model", "8b", "--gpu", "l40s", "--config", "other.yaml").exit_code == 1


def _checkpoint(folder: Path, scale: int = 1) -> None:
    folder.mkdir()
    config = dict(KNOWN["llama-3.1-8b"].config) | {"torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    end = 1_000_000_000 * scale
    header = json.dumps(
        {"model.layers.0.mlp.up_proj.weight": {"dtype": "BF16", "shape": [1], "data_offsets": [0, end]}}
    )
    for part in (1, 2):
        (folder / f"model-{part}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())


def test_a_folder_is_read_by_its_headers_which_say_the_bytes_exactly(tmp_path: Path) -> None:
    _checkpoint(tmp_path / "llama")
    said = _said("--model", str(tmp_path / "llama"), "--gpu", "h100")
    assert re.search(r"weights in the checkpoint +2\.0 GB \(1\.9 GiB\)  \[fact\]", said)
    assert "llama ·" in said
    config = _said("--model", str(tmp_path / "llama" / "config.json"))
    assert "8.03 B" in config
    assert "checkpoint" not in config


def test_a_format_other_than_the_checkpoints_is_reckoned(tmp_path: Path) -> None:
    _checkpoint(tmp_path / "llama")
    assert "weights in the checkpoint" not in _said("--model", str(tmp_path / "llama"), "--quant", "int4")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model", "70c"], "did you mean 70b?"),
        (["--model", "./nowhere.json"], "there is no file"),
        (["--model", "70b", "--gpu", "h1000"], "did you mean h100?"),
        (["--model", "70b", "--quant", "fp9"], "no format of weights"),
        (["--model", "70b", "--kv", "fp9"], "no format of the KV cache"),
        (["--model", "70b", "--gpu", "h100", "--link", "warp"], "no link"),
        (["--model", "70b", "--gpu", "h100", "--load", "1:2"], "2000:300:5"),
        (["--model", "70b", "--gpu", "h100", "--price", "leased"], "rented, reserved or bought"),
        (["--model", "70b", "--gpu", "h100", "--against", "x"], "NAME=IN:OUT"),
        (["--model", "70b", "--gpu", "h100", "--tp", "8", "--count", "4"], "takes 8 GPUs"),
        (["--model", "70b", "--gpu", "h100", "--log", "config.yaml"], "none of the lines"),
        (["--model", "70b", "--gpu", "h100", "--metrics", "gone.txt"], "gone.txt"),
        (["--model", "70b", "--gpu", "h100", "--metrics", "http://127.0.0.1:9/metrics"], "gives no metrics"),
        (["--model", "config.yaml"], "cannot be read as JSON"),
        (["--model", "70b", "--gpu", "h100", "--load", "ledger"], "the ledger has no call"),
    ],
)
def test_what_cannot_be_answered_is_told_in_words(words: list[str], says: str) -> None:
    got = _size(*words)
    assert got.exit_code == 1
    assert says in got.output
    assert "Traceback" not in got.output


def test_nothing_asked_is_a_wrong_call() -> None:
    got = _size()
    assert got.exit_code == 2
    assert "--model" in got.output


def test_prices_that_are_given_are_taken() -> None:
    data = _data("--gpu", "h200", "--count", "16", "--price", "rented=2", "--price", "bought=1000", "--staff", "0")
    table = data["parts"][0]
    assert [row[0] for row in table["rows"]] == ["rented", "bought"]
    assert table["rows"][0][1] == 32.0
    reserved = _data("--gpu", "h200", "--count", "16", "--price", "reserved=2", "--staff", "0")
    assert reserved["parts"][0]["rows"][0][:2] == ["reserved", 32.0]


def test_a_log_and_metrics_take_the_formulas_place() -> None:
    Path("vllm.log").write_text(
        "INFO Model loading took 15.0 GiB memory and 5.4 seconds\n"
        "INFO Available KV cache memory: 50.00 GiB\n"
        "INFO GPU KV cache size: 409,600 tokens, Maximum concurrency for 4,096 tokens per request: 100.00x\n"
    )
    Path("metrics").write_text(
        'vllm:num_requests_running{engine="0"} 8\n'
        'vllm:request_time_per_output_token_seconds_sum{engine="0"} 1.2\n'
        'vllm:request_time_per_output_token_seconds_count{engine="0"} 100\n'
    )
    said = _said("--model", "8b", "--gpu", "a100", "--count", "1", "--log", "vllm.log", "--metrics", "metrics")
    assert "409,600 tokens  [measured]" in said
    assert "100 sequences of 4,096 tokens at once" in said
    assert "of the data sheet's bandwidth" in said


class _Vllm(BaseHTTPRequestHandler):
    """A /metrics that goes on: each reading a thousand tokens later."""

    readings = 0

    def do_GET(self) -> None:
        type(self).readings += 1
        text = "".join(
            f'vllm:{name}{{engine="0"}} {value * self.readings}\n'
            for name, value in (
                ("prompt_tokens_total", 1000),
                ("generation_tokens_total", 200),
                ("e2e_request_latency_seconds_count", 2),
                ("prefix_cache_queries_total", 1000),
                ("prefix_cache_hits_total", 250),
            )
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_live_metrics_are_read_twice_and_what_lies_between_is_the_mix() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Vllm) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/metrics"
            said = _said("--model", "8b", "--gpu", "a100", "--metrics", url, "--over", "10ms", "--against", "m=1:2")
        finally:
            server.shutdown()
            thread.join()
    assert _Vllm.readings == 2
    assert "500 in, 100 out" in said
    assert "25% of input cached (vLLM's metrics)" in said


def _receipt(id: str, at: float, **columns: Any) -> ReceiptRow:
    usual: dict[str, Any] = dict.fromkeys(ReceiptRow._fields, 0) | dict.fromkeys(
        ("team", "user", "tags", "route", "provider", "sensitivity", "price_version")
    )
    usual |= {"id": id, "time": at, "key": "k", "status": 200, "deployment": "mini", "model": "mini", "body": "{}"}
    return ReceiptRow(**(usual | columns))


def test_the_ledger_is_the_load() -> None:
    now = time.time()
    store = SqliteStore(Path("ledger.db"))
    store.add_receipts(
        [
            *(_receipt(f"a{at}", now - 60, fresh_input=900, cached_input=100, output_text=250) for at in range(36)),
            _receipt("hit", now - 60, cached=True, fresh_input=0),
            _receipt("error", now - 60, status=500),
            _receipt("other", now - 60, model="else", fresh_input=10**6, output_text=10**5),
        ]
    )
    store.close()
    data = _data("--model", "8b", "--gpu", "h100", "--load", "ledger", "--where", "model=mini", "--since", "24h")
    load = next(part for part in data["parts"] if part["title"] == "the load")
    figures = {figure["name"]: figure for figure in load["figures"]}
    assert figures["calls when busiest"]["value"] == pytest.approx(36 / 3600)
    assert figures["a day"]["worked"] == "1,000 in, 250 out a call; 10% of input cached"
    assert figures["calls when busiest"]["source"].startswith("the ledger, ")
