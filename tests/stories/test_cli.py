"""The command line, as an operator types it."""

from __future__ import annotations

import csv
import io
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.patience import WITHIN_S
from tests.ports import free_port
from tests.stories.house import ROOT, World, at, command, config_of

SHIPPED = ROOT / "config.yaml"
COMMANDS = ["serve", "check", "explain", "costs", "keys", "simulate"]
NO_KEYS = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "MISTRAL_API_KEY"))


def typed(*arguments: str, environ: Mapping[str, str | None] = NO_KEYS) -> Result:
    """Runs `headgate …` within this process, which is many times quicker than another."""
    return CliRunner().invoke(main, arguments, env=environ, prog_name="headgate")


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """The shipped config, with its store where the test can let it lie."""
    text = SHIPPED.read_text().replace("sqlite:///headgate.db", f"sqlite:///{tmp_path}/headgate.db")
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_the_shipped_config_is_checked_and_shown() -> None:
    got = command("check", "--config", str(SHIPPED))
    assert got.returncode == 0, got.stderr
    assert "disabled, no key" in got.stdout
    assert "who may go where" in got.stdout
    assert re.search(r"ok: \d+ policy tests passed", got.stdout)
    for word in ("demo", "gpt-mini", "haiku", "0.25", "restricted"):
        assert word in got.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("pick: cheapest", "pick: cheepest", "did you mean 'cheapest'"),
        ("provider: openai", "provider: opnai", "there is no provider 'opnai'; did you mean 'openai'?"),
        ("max_body: 32MiB", "max_body: 32", "a size is a number with its unit"),
        ("expect: {first: haiku}", "expect: {first: demo}", "test failed"),
        ("auth: open", "auth: open\nauthh: keys", "there is no key 'authh' here"),
        ("providers:\n", "providers: [\n", ""),
    ],
)
def test_a_broken_config_is_refused_with_file_line_and_column(shipped: Path, right: str, wrong: str, told: str) -> None:
    text = shipped.read_text()
    assert right in text
    shipped.write_text(text.replace(right, wrong, 1))
    got = typed("check", "--config", str(shipped))
    assert got.exit_code == 1
    assert re.search(rf"^{re.escape(str(shipped))}:\d+:\d+: ", got.stderr, re.MULTILINE), got.stderr
    assert told in got.stderr


def test_a_config_that_cannot_serve_is_refused_at_the_start(shipped: Path) -> None:
    shipped.write_text(shipped.read_text().replace("pick: cheapest", "pick: cheepest"))
    checked = command("check", "--config", str(shipped))
    served = command("serve", "--config", str(shipped), "--listen", "127.0.0.1:0")
    assert (served.returncode, served.stderr) == (checked.returncode, checked.stderr)
    assert checked.stderr.startswith(f"{shipped}:")
    assert "Traceback" not in served.stderr


def test_an_address_that_is_taken_is_told_so(shipped: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        got = command("serve", "--config", str(shipped), "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert got.returncode == 1
    assert "Traceback" not in got.stderr
    assert "address already in use" in got.stderr.splitlines()[-1]


def test_an_open_door_does_not_listen_to_others(shipped: Path) -> None:
    got = command("serve", "--config", str(shipped), "--listen", "0.0.0.0:0")
    assert got.returncode == 1
    assert re.search(rf"^{re.escape(str(shipped))}:\d+:\d+: `auth: open`", got.stderr)


def test_a_config_that_is_not_there_is_told_so() -> None:
    for name in ("check", "costs"):
        got = typed(name, "--config", "/nowhere/config.yaml")
        assert got.exit_code == 1
        assert "/nowhere/config.yaml: No such file or directory" in got.stderr


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_is_told(name: str | None) -> None:
    got = typed(*([name] if name else []), "--help")
    assert got.exit_code == 0
    assert "Usage: headgate" in got.stdout
    assert name is not None or all(each in got.stdout for each in COMMANDS)


def test_a_command_that_is_none_is_refused() -> None:
    got = typed("frobnicate")
    assert got.exit_code == 2
    assert "No such command 'frobnicate'" in got.stderr


def test_a_call_that_was_not_made_is_explained(shipped: Path) -> None:
    def explain(*arguments: str) -> Result:
        return typed("explain", "--config", str(shipped), *arguments, environ={**NO_KEYS, "OPENAI_API_KEY": "sk-x"})

    plain = explain("--model", "chat", "--text", "hello")
    assert (plain.exit_code, plain.stdout.split(":")[0]) == (0, "would go to gpt-mini"), plain.stderr
    secret = explain("--model", "auto", "--text", "my SSN is 536-90-4399", "--json")
    told = json.loads(secret.stdout)
    assert (told["candidates"], told["sensitivity"]) == (["demo"], "restricted")
    assert {removal["rule"] for removal in told["removed"]} == {"clearance"}
    assert explain("--model", "auto", "--text", "hello").stdout.startswith("would go to gpt-mini")
    assert explain("--model", "auto", "--down", "gpt-mini").stdout.startswith("would go to demo")
    for arguments, why in (
        (("--model", "chta"), "did you mean 'chat'"),
        (("--model", "chat", "--down", "nobody"), "no deployment 'nobody'"),
        (("--model", "chat", "--sensitivity", "secret"), "no sensitivity 'secret'"),
        (("--model", "gpt-mini", "--text", "my SSN is 536-90-4399"), "is permitted for this call: clearance"),
    ):
        got = explain(*arguments)
        assert got.exit_code == 1
        assert why in got.stderr
    assert explain().exit_code == 2


async def test_a_call_that_was_made_is_explained_and_summed(world: World) -> None:
    await world.serve({"cli-books": at(await world.simulator())})
    got = await world.chat()
    receipt = await world.receipt(got.id)
    config = ("--config", str(world.house.path))
    told = typed("explain", got.id, *config)
    assert (told.exit_code, told.stdout.strip()) == (0, receipt["sentence"])
    as_json = json.loads((typed("explain", got.id, "--json", *config)).stdout)
    assert as_json["receipt"]["cost_nano"] == receipt["cost_nano"]
    unknown = typed("explain", "req_nobody", *config)
    assert (unknown.exit_code, "req_nobody" in unknown.stderr) == (1, True)

    def costs(*arguments: str) -> Result:
        return typed("costs", *config, "--where", "deployment=cli-books", *arguments)

    table = costs()
    lines = table.stdout.splitlines()
    assert lines[0].split()[:3] == ["deployment", "calls", "errors"]
    assert lines[2].split()[:3] == ["cli-books", "1", "0"]
    assert lines[-1].split()[0] == "total"
    summed = json.loads((costs("--format", "json", "--group-by", "route")).stdout)
    assert [row["group"] for row in summed["rows"]] == ["chat"]
    assert summed["total"]["nano_usd"] == receipt["cost_nano"]
    rows = list(csv.DictReader(io.StringIO((costs("--format", "csv")).stdout)))
    assert [(row["deployment"], row["calls"]) for row in rows] == [("cli-books", "1")]
    wrong = costs("--group-by", "rout")
    assert wrong.exit_code == 1
    assert "did you mean route" in wrong.stderr


def test_keys_are_made_listed_and_switched(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    store = {"url": f"sqlite:///{tmp_path}/headgate.db", "journal": str(tmp_path / "journal")}
    path.write_text(json.dumps({**config_of({}), "auth": "keys", "teams": {"red": {}}, "store": store}))

    def keys(*arguments: str) -> Result:
        return typed("keys", *arguments, "--config", str(path))

    assert "no keys" in keys("list").stdout
    made = [keys("create", "ada", "--team", "red"), keys("create", "bob", "--expires", "2030-01-01")]
    assert [got.exit_code for got in made] == [0, 0]
    plain = [got.stdout.strip() for got in made]
    assert all(re.fullmatch(r"hg-[A-Za-z0-9_-]{32,}", key) for key in plain)
    assert plain[0] != plain[1]
    twice = keys("create", "ada")
    assert twice.exit_code == 1
    assert "there is a key named 'ada' already" in twice.stderr
    nobody = keys("create", "eve", "--team", "rde")
    assert nobody.exit_code != 0
    assert "the config has no team 'rde'" in nobody.stderr
    assert keys("disable", "bob").exit_code == 0
    listed = keys("list").stdout
    assert re.search(r"^ada +team red +enabled", listed, re.MULTILINE)
    assert re.search(r"^bob .*disabled", listed, re.MULTILINE)
    assert keys("enable", "bob").exit_code == 0
    assert keys("disable", "nobody").exit_code == 1
    edits = ("--budget", "50.00/month", "--budget", "0.000000001/hour", "--in-flight", "3", "--role", "owner")
    assert keys("edit", "ada", *edits, "--clear", "team").exit_code == 1  # an owner is one of a team
    assert keys("edit", "ada", *edits).exit_code == 0
    assert re.search(r"^ada +team red .* owner \$50\.00/month \$0\.000000001/hour$", keys("list").stdout, re.MULTILINE)
    assert keys("edit", "ada", "--clear", "budgets", "--clear", "role", "--clear", "team").exit_code == 0
    assert re.search(r"^ada +team - +enabled +store$", keys("list").stdout, re.MULTILINE)
    assert "write dollars and" in keys("edit", "ada", "--budget", "5e3/month").stderr
    assert "say what to change" in keys("edit", "ada").stderr
    rotated = keys("rotate", "ada", "--overlap", "1h")
    assert rotated.exit_code == 0
    assert rotated.stdout.strip() not in plain
    assert "(the one before is good until " in keys("list").stdout
    assert keys("delete", "ada").exit_code == 0
    assert keys("delete", "ada").exit_code == 1


def test_the_simulator_serves_and_fails_on_command() -> None:
    port = free_port()
    arguments = ["simulate", "--listen", f"127.0.0.1:{port}", "--ttft", "1ms", "--tpot", "0ms"]
    process = subprocess.Popen([sys.executable, "-m", "gateway", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=WITHIN_S) as client:
            deadline = time.monotonic() + WITHIN_S
            while True:
                try:
                    assert client.get("/models").status_code == 200
                    break
                except httpx.TransportError:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            body = {"model": "demo!429;retry-after=3", "messages": [{"role": "user", "content": "Hello"}]}
            got = client.post("/chat/completions", json=body)
            assert (got.status_code, got.headers["retry-after"]) == (429, "3")
    finally:
        process.terminate()
        process.wait(WITHIN_S)


def test_the_shipped_config_serves_and_says_what_to_try(shipped: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--config", str(shipped), "--listen", "127.0.0.1:0"],
        cwd=shipped.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        while not lines or not lines[-1].startswith("try: curl "):
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        said = "".join(lines)
        assert "demo" in said
        assert "disabled, no key: ${OPENAI_API_KEY} has no value" in said
        assert "admin key, shown this once: hg-admin-" in said
        tried = lines[-1].removeprefix("try: ")
        answered = subprocess.run(["sh", "-c", f"{tried.strip()} -sS"], capture_output=True, text=True, check=False)
        if answered.returncode != 127:  # where curl is at hand
            assert json.loads(answered.stdout)["choices"][0]["message"]["content"].startswith("I am a simulator")
    finally:
        process.terminate()
        status = process.wait(WITHIN_S)
        assert process.stdout is not None
        process.stdout.close()
    assert status == 0
