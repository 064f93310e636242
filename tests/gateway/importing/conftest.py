"""Configs of LiteLLM's, written by hand after its documentation, and this build to import them into."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.import_litellm import house
from gateway.importing import House, Imported, import_litellm

EXAMPLES = sorted((Path(__file__).parent / "litellm").glob("*.yaml"))


@pytest.fixture(scope="session")
def build() -> House:
    """What this build can be told of."""
    return house()


@pytest.fixture(scope="session")
def imported(build: House) -> dict[str, Imported]:
    """Every example, imported, by its name."""
    return {path.stem: import_litellm(path.read_text(), path.name, build) for path in EXAMPLES}
