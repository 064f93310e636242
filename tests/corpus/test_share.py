"""What the other files have covered, once they have run."""

from __future__ import annotations

import pytest

from tests.corpus.lines import records
from tests.corpus.tally import SKIPS_MAX, Tally

pytestmark = pytest.mark.corpus


def test_nearly_every_line_of_a_listed_provider_is_covered(tally: Tally) -> None:
    known = tally.covered.keys() | tally.skipped.keys() | tally.unlisted.keys() | tally.apart.keys()
    if not records() or known < {record["id"] for record in records()}:
        pytest.skip("not every line was read")
    assert not tally.pending, tally.told()
    assert tally.share < SKIPS_MAX, tally.told()
    assert tally.passed == set(tally.covered)
