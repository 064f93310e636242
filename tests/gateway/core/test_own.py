"""What a token costs on one's own GPUs, between spare and full."""

from __future__ import annotations

import pytest

from gateway.core.money import Price, Rates, Usage
from gateway.core.own import OwnPrice, marginal_nano, risen, standing_of

FULL = Price("v", ((0, Rates(fresh_input=65_306_319, cached_input=5_560_500, output_text=146_808_568)),))
OWN = OwnPrice(Rates(fresh_input=5_560_500, cached_input=5_560_500, output_text=12_500_000), 0.6)


@pytest.mark.parametrize(("load", "share"), [(0.0, 0.0), (0.3, 0.0), (0.45, 0.5), (0.6, 1.0), (1.0, 1.0)])
def test_a_price_rises_from_half_of_the_target_on(load: float, share: float) -> None:
    assert risen(load, 0.6) == pytest.approx(share)


def test_a_standing_is_exact_to_the_nano_dollar() -> None:
    idle, half, busy = (standing_of("d", FULL, OWN, load) for load in (0.1, 0.45, 0.9))
    assert (idle.input, idle.cached_input, idle.output) == (5_560_500, 5_560_500, 12_500_000)
    assert (half.input, half.cached_input, half.output) == (35_433_410, 5_560_500, 79_654_284)
    assert (busy.input, busy.output) == (busy.full_input, busy.full_output) == (65_306_319, 146_808_568)


def test_an_answer_is_charged_what_its_call_was_ranked_by() -> None:
    usage = Usage(fresh_input=1000, cached_input=3000, output_text=200)
    # (1000 + 3000) · 5.5605 + 200 · 12.5, each line rounded
    assert marginal_nano(usage, standing_of("d", FULL, OWN, 0.0)) == 5_561 + 16_682 + 2_500
    assert marginal_nano(usage, standing_of("d", FULL, OWN, 1.0)) == 65_306 + 16_682 + 29_362
