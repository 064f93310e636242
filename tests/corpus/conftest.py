"""Shows at the end of a run how many lines of the corpus were proved, and which were not, with the reason."""

from __future__ import annotations

import pytest

from tests.corpus.tally import Tally

_TALLY = pytest.StashKey[Tally]()


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    return pytestconfig.stash.setdefault(_TALLY, Tally())


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.setdefault(_TALLY, Tally()).told()
    if lines:
        terminalreporter.section("corpus")
        for line in lines:
            terminalreporter.write_line(line)
