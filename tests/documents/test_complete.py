"""Nothing that people can write, read or be told is undocumented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import policies
from gateway.attempts import TABLE
from gateway.classify.patterns import KINDS as DETECTED
from gateway.cli import _COMMANDS
from gateway.config import Config
from gateway.config.reference import _sections
from gateway.core.errors import Reason
from gateway.door.guard import _FORWARDING
from gateway.simulator import faults
from gateway.telemetry.names import METRICS
from gateway.wiring.kinds import DIALECTS, WIRES
from tests.documents.pages import DOCS, ROOT

_PACKAGES = ("gateway", "adapters", "policies")


def _page(name: str) -> str:
    return (DOCS / name).read_text()


def _sources() -> Iterator[str]:
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.read_text()


def _missing(words: Iterator[str] | set[str] | list[str], page: str) -> list[str]:
    return sorted({word for word in words if f"`{word}`" not in page})


def test_every_key_of_the_config_is_in_its_reference() -> None:
    page = _page("config.md")
    for path, section in _sections("", Config):
        assert not path or f"## `{path}`" in page
        names = [field.alias or name for name, field in section.model_fields.items()]
        assert _missing(names, page) == []


def test_every_metric_is_in_its_page() -> None:
    assert _missing([metric.name for metric in METRICS], _page("metrics.md")) == []


def test_no_page_names_a_metric_that_is_none() -> None:
    known = {metric.name for metric in METRICS}
    for page in (*DOCS.rglob("*.md"), ROOT / "README.md"):
        named = set(re.findall(r"headgate_[a-z_]+[a-z]", page.read_text()))
        assert named <= known, page


def test_every_header_of_ours_is_in_its_page() -> None:
    found = {header for source in _sources() for header in re.findall(r"x-headgate-[a-z]+(?:-[a-z]+)*", source)}
    assert {"x-headgate-decision", "x-headgate-deployment"} <= found
    page = _page("headers.md")
    assert [header for header in sorted(found) if header not in page] == []
    assert [name.decode() for name in _FORWARDING if f"`{name.decode()}`" not in page] == []


def test_no_page_names_a_header_of_ours_that_is_none() -> None:
    read = "\n".join(_sources())
    for page in (*DOCS.rglob("*.md"), ROOT / "README.md"):
        for header in re.findall(r"x-headgate-[a-z]+(?:-[a-z]+)*", page.read_text()):
            assert header in read, f"{page}: {header}"


def test_every_command_is_in_its_page() -> None:
    page = _page("cli.md")
    assert [name for name in _COMMANDS if f"\n## headgate {name}\n" not in page] == []


def test_every_policy_is_in_its_page() -> None:
    names = set()
    for path in Path(policies.__path__[0]).glob("[a-z]*.py"):
        names |= set(re.findall(r'^    name = "(\w+)"', path.read_text(), re.MULTILINE))
    assert {"clearance", "cheapest", "in_order"} <= names
    assert _missing(names, _page("policies.md")) == []


def test_every_kind_of_provider_and_dialect_is_documented() -> None:
    assert _missing(set(WIRES), _page("providers.md")) == []
    assert _missing(set(DIALECTS), _page("policies.md")) == []


def test_every_reason_of_a_failure_is_documented() -> None:
    assert set(TABLE) == set(Reason)
    for name in ("failures.md", "errors.md"):
        assert _missing([reason.value for reason in Reason], _page(name)) == []


def test_every_fault_and_every_finding_is_documented() -> None:
    assert _missing([*faults.KINDS, *faults._OPTIONS], _page("simulator.md")) == []
    assert _missing([kind.name for kind in DETECTED], _page("policies.md")) == []


def test_every_event_of_the_log_is_documented() -> None:
    page = _page("operations.md")
    events = {
        event
        for source in _sources()
        for event in re.findall(r'_log\.(?:info|warning|error|exception)\(\s*"([^"]+)"', source)
    }
    assert {"config_applied", "breaker_changed"} <= events
    assert _missing(events, page) == []


def test_every_variable_of_the_environment_is_documented() -> None:
    named = {name for source in _sources() for name in re.findall(r"\b(?:HEADGATE|OTEL)_[A-Z_]+[A-Z]", source)}
    assert "HEADGATE_ADMIN_KEY" in named
    assert _missing(named, _page("operations.md")) == []


def test_every_path_that_is_served_is_documented() -> None:
    served = set()
    for source in _sources():
        served |= set(re.findall(r'@routes\.\w+\(\s*"(/admin/(?!ui|static)[^"]+)"', source))
    assert "/admin/costs" in served
    page = "".join(each.read_text() for each in sorted(DOCS.glob("admin*.md")))
    assert [path for path in sorted(served) if path not in page] == []
    operations = _page("operations.md")
    for path in ("/healthz", "/readyz", "/metrics"):
        assert f"`GET {path}`" in operations


def test_every_part_of_the_gateway_is_in_the_tree() -> None:
    tree = _page("architecture.md").split("```text")[1].split("```")[0]
    for path in (ROOT / "gateway").iterdir():
        if path.name[0] not in "._" and (path.is_dir() or path.suffix == ".py"):
            assert f"  {path.name}{'/' if path.is_dir() else ''} " in tree, path


@pytest.mark.parametrize("target", ["run", "test"])
def test_the_two_commands_of_the_readme_are_there(target: str) -> None:
    assert f"make {target} " in (ROOT / "README.md").read_text()
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
