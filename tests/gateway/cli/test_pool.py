"""`headgate pool`: what it shows, and what it says where it cannot."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.cli.admin_client import AdminClient, Unanswered
from gateway.cli.pool_text import fresh_lines, status_text

REPLICA: Mapping[str, Any] = {
    "name": "0", "phase": "loading", "why": "", "since_at": 1000.0, "pid": 7, "address": "http://10.0.0.1:8000",
    "gpus": ["GPU-0"], "progress": 0.4, "eta_s": 30.0, "restarts": 1, "in_flight": 2, "config_hash": "h",
    "adopted": False, "told_s_ago": None,
}  # fmt: skip
READY = {**REPLICA, "phase": "ready", "progress": None, "eta_s": None, "running": 3, "waiting": 0, "kv_usage": 0.42,
         "cached_share": 0.61, "name": "1", "why": "drifts"}  # fmt: skip
POOL: Mapping[str, Any] = {
    "pool": "lab", "launched": True, "routing": "prefix", "deployments": ["own"], "load": 0.4,
    "tokens_per_s": {"input": 12_000.0, "output": 1_500.0},
    "speed": {"prefill": 16_359.4, "decode": 7_277.3, "at_once": 400.0, "source": "estimate"},
    "prices": [{"deployment": "own", "load": 0.4, "input": 5_560_500, "cached_input": 1, "output": 12_500_000,
                "full_input": 65_306_319, "full_output": 146_808_568}],
    "replicas": [REPLICA, READY],
}  # fmt: skip


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(
        main, ["pool", *arguments], env={"HEADGATE_ADMIN_KEY": None, "HEADGATE_URL": None} | environ
    )


def test_pools_are_shown_as_a_table() -> None:
    assert status_text([POOL], 1300.0).splitlines() == [
        "lab: launched, routed by prefix, 40% busy, 12,000 tokens/s in, 1,500 out",
        "  a replica does 16,359 tokens/s in, 7,277 out (estimate)",
        "  own: ranked at 0.0055605 in, 0.0125 out; in full 0.065306319 in, 0.146808568 out a million",
        "  replica  phase              for  calls  running  waiting  KV   cached  restarts  address",
        "  0        loading 40%, 30 s  5m   2      -        -        -    -       1         http://10.0.0.1:8000",
        "  1        ready              5m   2      3        0        42%  61%     1         http://10.0.0.1:8000",
        "  1: drifts",
    ]
    assert "no pools" in status_text([])


@pytest.mark.parametrize(
    ("shown", "later", "fresh"),
    [
        ([], ["a"], ["a"]),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b", "c"], ["b", "c", "d", "e"], ["d", "e"]),
        (["a", "b"], ["a", "b"], []),
        (["a"], ["x", "y"], ["x", "y"]),  # a new start, or too much at once: nothing is held back
    ],
)
def test_a_follower_shows_each_line_once(shown: list[str], later: list[str], fresh: list[str]) -> None:
    assert fresh_lines(shown, later) == fresh


def test_where_no_gateway_answers_it_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        got = run("--url", url, "status")
    assert got.exit_code == 1
    assert f"no gateway answers at {url} (" in got.stderr
    assert "--url" in got.stderr
    assert "no URL of a gateway" in run("status", HEADGATE_URL="localhost:8080").stderr


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the gateway answers by method and path; what was asked is noted under `asked`."""
    told: dict[str, Any] = {"asked": []}

    def ask(self: AdminClient, method: str, path: str, body: bytes | None) -> Any:
        told["asked"].append((method, path, body))
        if path not in told:
            raise Unanswered("pool 'lab' was found")
        return told[path]

    monkeypatch.setattr(AdminClient, "_ask", ask)
    return told


def test_commands_ask_what_they_say(answers: dict[str, Any]) -> None:
    answers |= {
        "/admin/pool/lab/scale": {"done": False},
        "/admin/pool/a%2Fb/restart": {"done": True},
        "/admin/pool/lab/1/restart": {"done": False},
        "/admin/pool/lab/0/logs?lines=2": {"lines": ["x", "y"]},
    }
    assert run("scale", "lab", "3").stdout == ("lab is on its way to 3 replicas: see `headgate pool status --watch`\n")
    assert run("restart", "a/b").stdout == "every replica of a/b was started anew\n"
    assert run("restart", "lab", "1").stdout.startswith("lab/1 is being started anew")
    assert run("logs", "lab", "0", "-n", "2").stdout == "x\ny\n"
    refused = run("drain", "lab", "0")
    assert (refused.exit_code, refused.stderr) == (1, "pool 'lab' was found\n")
    assert answers["asked"][0] == ("POST", "/admin/pool/lab/scale", b'{"replicas":3}')


def test_a_follower_goes_on_until_the_gateway_ends(answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    said = [["a", "b", "c"], ["b", "c", "d"], ["b", "c", "d"], ["c", "d", "e"]]

    def ask(self: AdminClient, method: str, path: str, body: bytes | None) -> Any:
        if not said:
            raise Unanswered("no gateway answers")
        return {"lines": said.pop(0)}

    monkeypatch.setattr(AdminClient, "_ask", ask)
    monkeypatch.setattr("gateway.cli.pool.time.sleep", lambda seconds: None)
    got = run("logs", "lab", "0", "-n", "2", "-f")
    assert got.stdout.split() == ["b", "c", "d", "e"]
    assert (got.exit_code, got.stderr) == (1, "no gateway answers\n")


def test_status_as_data(answers: dict[str, Any]) -> None:
    answers["/admin/pool"] = {"pools": [POOL]}
    assert '"launched": true' in run("status", "--json").stdout
    assert run("status").stdout.startswith("lab: launched")
