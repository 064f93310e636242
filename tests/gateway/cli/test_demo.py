"""`headgate demo`: fills a folder of its own, serves it, and leaves alone what is not its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.patience import WITHIN_S, until
from tests.stories.house import ROOT

_ADMIN = "hg-admin-of-the-demo"


@contextmanager
def _served(folder: Path, *options: str) -> Iterator[str]:
    """Serves a small demo in a process of its own; gives its base URL."""
    arguments = ["--folder", str(folder), "--port", "0", "--calls", "1500", *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "HEADGATE_ADMIN_KEY": _ADMIN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        lines = iter(process.stdout.readline, "")
        base = next((found[1] for line in lines if (found := re.search(r"serves on (http://\S+)", line))), None)
        assert base is not None, "".join(log)
        yield base
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(WITHIN_S) == 0
        finally:
            process.kill()
            process.wait()
            reader.join()
            process.stdout.close()
            process.stderr.close()
    assert [line for line in log if "Traceback" in line] == []


async def test_a_demo_serves_its_month_and_answers_and_moves(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with _served(folder) as base:
        async with httpx.AsyncClient(base_url=base, timeout=30, verify=False) as http:
            admin = {"authorization": f"Bearer {_ADMIN}"}

            async def calls(since: str) -> int:
                got = await http.get("/admin/costs", params={"group_by": "team", "since": since}, headers=admin)
                assert got.status_code == 200, got.text
                return int(got.json()["total"]["calls"])

            month, day = await calls("31d"), await calls("24h")
            assert month >= 1500
            assert day > 10
            await until(lambda: _more(calls, month))  # the traffic that moves the pages
            keys = json.loads((folder / "demo.json").read_text())["keys"]
            caller = {"authorization": f"Bearer {keys['crm']}"}
            body = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}
            answer = await http.post("/v1/chat/completions", json=body, headers=caller)
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-headgate-deployment"] in ("qwen", "gpt-mini", "haiku")
            assert (await http.post("/v1/chat/completions", json=body)).status_code == 401
            second = _fill(folder)
            assert (second.exit_code, "another demo has" in second.stderr) == (1, True)


async def _more(calls: object, than: int) -> bool:
    assert callable(calls)
    return bool(await calls("31d") > than + 3)


def _fill(folder: Path, *options: str) -> Result:
    """Runs the command in this process, without serving."""
    return CliRunner().invoke(main, ["demo", "--folder", str(folder), "--no-serve", *options])


def test_a_month_that_is_young_is_kept_with_its_config(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    first = _fill(folder, "--calls", "300")
    assert (first.exit_code, first.stdout.startswith("300 calls in ")) == (0, True), first.output
    mark, config = (folder / "demo.json").read_text(), folder / "config.yaml"
    assert (folder / "demo.json").stat().st_mode & 0o077 == 0
    config.write_text(config.read_text() + "limits: {in_flight: 100}\n")
    again = _fill(folder, "--calls", "300")
    assert (again.exit_code, again.stdout) == (0, "")
    assert (folder / "demo.json").read_text() == mark
    (folder / "demo.json").write_text("")  # as a fill that was broken off leaves it
    assert _fill(folder, "--calls", "300").stdout.startswith("300 calls in ")
    assert _fill(folder, "--calls", "200", "--seed", "7").stdout.startswith("200 calls in ")
    assert "in_flight: 100" in config.read_text()


def test_a_folder_that_is_no_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "headgate.db").write_text("mine")
    refused = _fill(tmp_path)
    assert refused.exit_code == 1
    assert "is no demo's: name another with --folder" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["headgate.db"]
    assert (tmp_path / "headgate.db").read_text() == "mine"
