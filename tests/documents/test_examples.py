"""Examples do what they say: configs load, commands run, programs get answers, all against the shipped config."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from gateway.wiring.runtime import dry_compile, read_config
from tests.documents.pages import ROOT, Fence, Gateway, fences
from tests.gateway.upstream.authority import issue

_ADDRESS = "127.0.0.1:8080"
_STARTS = ("curl ", "headgate ", "ID=")
_STAYS = ("headgate serve", "headgate simulate")  # these serve until they are told to stop

YAMLS = fences("yaml")
PYTHONS = fences("python")
SHELLS = [
    fence
    for fence in fences("sh")
    if all(line.startswith(_STARTS) for line in re.split(r"(?<!\\)\n", fence.text.strip()))
]
CONSOLES = fences("console")


def _ids(fence: object) -> str:
    return str(fence)


# -- configs ------------------------------------------------------------------------------------------------------


def _onto(base: dict[str, Any], fragment: dict[str, Any]) -> dict[str, Any]:
    """Lays a fragment over a config: what it names within a section takes the place of what was there."""
    laid = {key: base.get(key, {}) | part if isinstance(part, dict) else part for key, part in fragment.items()}
    return base | laid


def _base() -> dict[str, Any]:
    """Returns the shipped config without its rules: what a fragment's names mean."""
    config: dict[str, Any] = YAML(typ="safe").load(ROOT / "config.yaml")
    return {key: config[key] for key in ("auth", "providers", "deployments", "sensitivity")}


@pytest.mark.parametrize("fence", YAMLS, ids=_ids)
def test_every_config_on_a_page_loads_with_its_proof_and_its_tests(
    fence: Fence, tmp_path: Path, certificates: Path
) -> None:
    fragment = YAML(typ="safe").load(fence.text)
    whole = {"providers", "deployments", "sensitivity", "policies"} <= fragment.keys()
    path = tmp_path / "config.yaml"
    (tmp_path / "certificates").symlink_to(certificates)
    path.write_text(fence.text if whole else json.dumps(_onto(_base(), fragment)))
    compiled = dry_compile(read_config(path, {"COMPANY_PROXY": "http://me:hidden@proxy.internal:3128"}))
    assert compiled.snapshot.deployments


def test_there_are_configs_programs_commands_and_outputs_to_hold_pages_to() -> None:
    assert min(len(YAMLS), len(PYTHONS), len(SHELLS), len(CONSOLES)) >= 3


# -- programs and commands ----------------------------------------------------------------------------------------


def _here(text: str, gateway: Gateway) -> str:
    return text.replace(_ADDRESS, f"127.0.0.1:{gateway.port}")


@pytest.mark.parametrize("fence", PYTHONS, ids=_ids)
def test_every_program_on_a_page_gets_its_answer(fence: Fence, gateway: Gateway) -> None:
    assert _ADDRESS in fence.text
    got = gateway.run(sys.executable, "-", text=_here(fence.text, gateway))
    assert got.returncode == 0, got.stderr
    assert got.stdout.strip()


def _ask(gateway: Gateway, model: str, text: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return httpx.post(f"http://127.0.0.1:{gateway.port}/v1/chat/completions", json=body)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of certificates that configs on pages name."""
    folder = tmp_path_factory.mktemp("certificates")
    issue(folder)
    for name, ours in (("company.pem", "ca.pem"), ("headgate.pem", "client.pem"), ("headgate.key", "client.key")):
        (folder / ours).rename(folder / name)
    return folder


@pytest.fixture(scope="module")
def call_id(gateway: Gateway) -> str:
    """The id of a call that was made."""
    return _ask(gateway, "chat", "my SSN is 536-90-4399").raise_for_status().headers["x-request-id"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("fence", SHELLS, ids=_ids)
def test_every_command_on_a_page_succeeds(fence: Fence, gateway: Gateway, call_id: str) -> None:
    assert not any(word in fence.text for word in _STAYS)
    script = f'set -eu\nID={call_id}\ncurl() {{ command curl -sS --fail-with-body --max-time 20 "$@"; echo; }}\n'
    got = gateway.run("bash", "-c", script + _here(fence.text, gateway))
    assert got.returncode == 0, got.stdout + got.stderr
    assert '"error"' not in got.stdout


def _runs(text: str) -> Iterator[tuple[str, str]]:
    """Yields each command of a console and what it is said to print."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


@pytest.mark.parametrize("fence", CONSOLES, ids=_ids)
def test_every_command_prints_what_a_page_shows(fence: Fence, gateway: Gateway) -> None:
    """A line of … stands for any lines."""
    for command, shown in _runs(fence.text):
        got = gateway.run("bash", "-c", command)
        pattern = "".join("(?s:.*)" if line == "…\n" else re.escape(line) for line in shown.splitlines(keepends=True))
        assert re.fullmatch(pattern, got.stdout + got.stderr), f"{command}\n{got.stdout}{got.stderr}"


@pytest.mark.parametrize("fence", fences("json"), ids=_ids)
def test_every_json_on_a_page_can_be_read(fence: Fence) -> None:
    assert json.loads(fence.text)


def test_the_error_on_the_page_of_errors_is_what_is_answered(gateway: Gateway) -> None:
    shown = next(fence for fence in fences("json") if fence.page.name == "errors.md")
    got = _ask(gateway, "dmo", "Hello")
    assert got.json() == json.loads(shown.text)


def test_the_decision_on_the_admin_page_is_told_in_those_words(gateway: Gateway, call_id: str) -> None:
    got = gateway.run("headgate", "explain", call_id)
    assert got.stdout.startswith(
        "sent to demo: the only one left; gpt-mini, haiku removed by clearance (restricted > internal); "
    )
    page = (ROOT / "docs" / "admin.md").read_text()
    assert "sent to demo: the only one left; gpt-mini, haiku removed by clearance (restricted > internal); …" in page
