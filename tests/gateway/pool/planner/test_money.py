"""Loads, bills, prices of tokens and break-even, held against published sums."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import NANO_PER_USD
from gateway.pool.planner.figures import write
from gateway.pool.planner.hardware import gpu_of
from gateway.pool.planner.load import Capacity, Hour, Load, demand_of, load_from, load_of
from gateway.pool.planner.money import bills, hosted_table, mixed_rate, volume_table
from gateway.pool.planner.price import (
    Hosted,
    Pool,
    Terms,
    at_volume,
    bill_of,
    break_even_tokens_per_day,
    break_even_utilisation,
    marginal_usd,
    opinion,
    per_million,
    token_price,
)
from gateway.pool.planner.quantisation import UnknownWord

RATE = st.floats(1, 1e6)
USD = st.floats(0.01, 1e4)
SHARE = st.floats(0.01, 1)


@pytest.mark.parametrize(
    ("cost_h", "rate", "busy", "usd"),
    [
        (2.50, 700, 1.0, 0.99),
        (2.50, 700, 0.1, 9.92),
        (2 * 3.13, 16_042, 0.6, 0.18),  # gpt-oss-120b on two H100
        (8 * 4.06, 17_526, 0.6, 0.86),  # GLM-5.2 in FP8 on eight H200
        (3.13, 4285, 0.6, 0.34),  # Qwen3-32B in FP8 on one H100
    ],
)
def test_a_million_tokens_cost_what_was_published(cost_h: float, rate: float, busy: float, usd: float) -> None:
    assert per_million(cost_h, rate, busy) == pytest.approx(usd, rel=0.02)


def test_sixteen_h200_rented_reserved_and_bought() -> None:
    terms = Terms(staff=0, rent_usd=4.06, buy_usd=40_000)
    by_name = dict(bills(gpu_of("h200"), 16, ("rented", "reserved", "bought"), terms))
    assert by_name["rented"].total == pytest.approx(16 * 4.06)
    assert by_name["reserved, 40% off"].total == pytest.approx(16 * 4.06 * 0.6)
    assert by_name["reserved, 60% off"].total == pytest.approx(16 * 4.06 * 0.4)
    bought = by_name["bought"]
    assert bought.gpus * 8760 * 4 == pytest.approx(16 * 40_000)
    assert bought.power == pytest.approx(16 * 1.275 * 1.3 * 0.12)
    assert bought.rack == pytest.approx(16 * 1.275 * 150 / 730)
    assert bought.total == pytest.approx(bought.gpus + bought.power + bought.rack)


@pytest.mark.parametrize("change", [{"staff": 2.0}, {"overhead": 0.2}, {"salary_usd": 1e6}])
def test_staff_and_overhead_are_paid_whichever_way(change: dict[str, float]) -> None:
    for way in ("rented", "reserved", "bought"):
        usual, more = (bill_of(gpu_of("h200"), 16, way, terms) for terms in (Terms(), Terms(**change)))  # type: ignore[arg-type]
        assert more.total > usual.total


@pytest.mark.parametrize("change", [{"power_usd_kwh": 0.4}, {"pue": 2.0}, {"rack_usd_kw_month": 500.0}])
def test_power_and_rack_are_paid_for_bought_ones_alone(change: dict[str, float]) -> None:
    terms = Terms(**change)  # type: ignore[arg-type]
    assert bill_of(gpu_of("h200"), 16, "bought", terms).total > bill_of(gpu_of("h200"), 16, "bought", Terms()).total
    assert bill_of(gpu_of("h200"), 16, "rented", terms).total == bill_of(gpu_of("h200"), 16, "rented", Terms()).total


@given(USD, RATE, st.floats(0.01, 100))
def test_at_break_even_own_tokens_cost_what_hosted_ones_do(cost_h: float, rate: float, hosted: float) -> None:
    busy = break_even_utilisation(cost_h, rate, hosted)
    assert per_million(cost_h, rate, busy) == pytest.approx(hosted)
    tokens = break_even_tokens_per_day(cost_h, hosted)
    assert tokens * hosted / 1e6 == pytest.approx(24 * cost_h)
    assert tokens == pytest.approx(rate * 86_400 * busy)


@given(USD, RATE, SHARE, SHARE)
def test_busier_is_never_dearer(cost_h: float, rate: float, busy: float, more: float) -> None:
    assert per_million(cost_h, rate, max(busy, more)) <= per_million(cost_h, rate, min(busy, more))


def test_nothing_is_divided_by_nothing() -> None:
    assert per_million(1.0, 0.0, 0.5) == math.inf
    assert break_even_utilisation(1.0, 100.0, 0.0) == math.inf
    assert break_even_tokens_per_day(1.0, 0.0) == math.inf


# -- the price that policies ask for ------------------------------------------------------------------------------

POOL = Pool(replica_usd_h=10.0, prefill=10_000, decode=2000, replicas=2, target=0.65, marginal_usd=0.02)


def test_a_pool_with_room_costs_what_one_more_token_costs() -> None:
    idle = token_price(POOL)
    assert idle.charged == "marginal"
    assert (idle.input_usd, idle.output_usd) == (pytest.approx(0.004), 0.02)
    assert idle.idle_usd_h == 20.0


def test_a_full_pool_costs_what_a_further_replica_does() -> None:
    full = token_price(POOL, Load(1000, 300, 7.0))
    assert full.busy == pytest.approx((7000 / 10_000 + 2100 / 2000) / 2)
    assert full.charged == "full"
    assert full.output_usd == pytest.approx(10 / (3600 * 2000 * 0.65) * 1e6)
    assert full.input_usd == pytest.approx(10 / (3600 * 10_000 * 0.65) * 1e6)
    assert token_price(Pool(10, 10_000, 2000, replicas=0)).charged == "full"


def test_what_is_found_in_the_cache_takes_no_prefill() -> None:
    cold, warm = (token_price(POOL, Load(1000, 300, 6.0, hit)) for hit in (0.0, 0.9))
    assert cold.charged == "full"
    assert warm.busy < cold.busy
    assert warm.charged == "marginal"


@given(USD, RATE, RATE, SHARE, st.floats(0.01, 100), st.floats(1, 1e4), st.floats(1, 1e4))
def test_the_full_price_pays_for_the_replica_at_its_target(
    cost_h: float, prefill: float, decode: float, target: float, rate: float, tokens_in: float, tokens_out: float
) -> None:
    """So many calls that a replica is busy to its target bring in exactly what it costs."""
    price = token_price(Pool(cost_h, prefill, decode, 1, target))
    each = tokens_in / prefill + tokens_out / decode  # seconds of a replica
    calls = 3600 * target / each
    earned = calls * (tokens_in * price.full_input + tokens_out * price.full_output) / 1e6
    assert earned == pytest.approx(cost_h)


def test_a_price_is_given_as_the_ledgers_rates() -> None:
    assert token_price(Pool(10, 0, 0, replicas=0)).rates() is None
    rates = token_price(POOL, Load(1000, 300, 7.0)).rates()
    assert rates is not None
    assert rates.output_text == round(10 / (3600 * 2000 * 0.65) * 1e6 * NANO_PER_USD)
    assert rates.cached_input is not None
    assert rates.cached_input < rates.fresh_input < rates.output_text


def test_power_above_idle_counts_for_own_gpus_alone() -> None:
    terms = Terms()
    rented = marginal_usd(gpu_of("h100"), 4, 3000, "rented", terms)
    assert rented == pytest.approx(250 * 1e6 / 1e9 * 0.05)
    assert marginal_usd(gpu_of("h100"), 4, 3000, "bought", terms) > rented


# -- loads --------------------------------------------------------------------------------------------------------


def test_a_load_is_read_and_a_wrong_one_is_told() -> None:
    assert load_of("2000:300:5") == Load(2000, 300, 5, 0.0, 2300 * 5 * 86_400)
    assert load_of("2000:300:5:0.4").hit == 0.4
    for wrong in ("", "2000", "2000:300", "a:b:c", "1:1:0", "1:1:1:1", "1:1:nan", "-1:1:1"):
        with pytest.raises(UnknownWord, match="2000:300:5"):
            load_of(wrong)


def test_a_ledgers_load_is_its_mean_call_at_its_busiest_hour() -> None:
    load = load_from([Hour(100, 90_000, 10_000, 30_000), Hour(300, 270_000, 30_000, 90_000)], 7200, "the ledger")
    assert (load.input_tokens, load.output_tokens, load.hit) == (1000, 300, 0.1)
    assert load.per_second == pytest.approx(300 / 3600)
    assert load.tokens_per_day == pytest.approx(520_000 / 7200 * 86_400)
    with pytest.raises(UnknownWord, match="--load"):
        load_from([Hour(5, 0, 0, 0)], 7200, "the ledger")


CAPACITY = Capacity(prefill=10_000, decode=2000, tpot_s=0.03, ttft_s=0.2, sequences=100)


def test_replicas_are_what_prefill_and_decode_take_at_the_target() -> None:
    demand = demand_of(load_of("2000:300:10"), CAPACITY, 0.65)
    assert (demand.prefill, demand.decode) == (2.0, 1.5)
    assert demand.replicas == math.ceil(3.5 / 0.65)
    assert demand.bottleneck == "prefill (arithmetic)"
    assert demand.utilisation == pytest.approx(3.5 / 6)


def test_sequences_that_wait_in_kv_can_decide() -> None:
    demand = demand_of(load_of("100:2000:1"), Capacity(10_000, 20_000, 0.05, 0.2, sequences=10), 1.0)
    assert demand.cache == pytest.approx((0.2 + 2000 * 0.05) / 10)
    assert demand.replicas == 11
    assert demand.bottleneck == "KV memory"


@given(st.floats(1, 1e5), st.floats(1, 1e4), st.floats(0.01, 1000), st.floats(0, 0.9), SHARE)
def test_replicas_suffice_and_one_fewer_would_not(
    tokens_in: float, tokens_out: float, per_second: float, hit: float, target: float
) -> None:
    load = Load(tokens_in, tokens_out, per_second, hit)
    demand = demand_of(load, CAPACITY, target)
    busy = max(demand.prefill + demand.decode, demand.cache)
    assert busy <= demand.replicas * target * 1.000001
    assert demand.replicas == 1 or busy > (demand.replicas - 1) * target * 0.999999
    most = mixed_rate(CAPACITY, load)
    assert most == pytest.approx((tokens_in + tokens_out) * per_second / (demand.prefill + demand.decode))


# -- own or hosted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "says"),
    [(9e5, "an API"), (2e6, "an API, mostly"), (2e7, "look"), (1e8, "break-even"), (4.9e8, "break-even"), (5e8, "own")],
)
def test_what_people_say_goes_by_the_volume(tokens: float, says: str) -> None:
    assert says in opinion(tokens).short


def test_under_a_million_tokens_a_day_an_api_is_cheaper_and_at_half_a_billion_a_busy_small_model_is_not() -> None:
    small = {"replica_usd_h": 3.13, "staff_usd_h": 2.0, "tokens_per_s": 10_000.0, "utilisation": 0.6, "hosted": 0.6}
    assert at_volume(0.9e6, **small).cheaper == "hosted"
    assert at_volume(500e6, **small).cheaper == "own"
    assert at_volume(600e6, **small).replicas == 2


def test_a_cached_token_counts_at_its_own_price_in_the_mix() -> None:
    hosted = Hosted("mini", 0.25, 0.025, 2.0)
    assert hosted.blended(0.25) == pytest.approx(0.25 * 0.75 + 2.0 * 0.25)
    assert hosted.blended(0.25, 1.0) == pytest.approx(0.025 * 0.75 + 2.0 * 0.25)


def test_the_tables_say_never_where_own_gpus_never_pay() -> None:
    made = bills(gpu_of("h100"), 4, ("rented",), Terms())
    load = load_of("1000:300:1")
    table = hosted_table(made, (Hosted("dear", 5, 5, 20), Hosted("cheap", 0.01, 0.01, 0.01)), load, 5000)
    assert [write(float(str(row[4])), "busy") for row in table.rows] == ["from 16%", "never"]
    volumes = volume_table([1e5, 1e9], made[0], (4, 4), 5000, 0.6, Hosted("dear", 5, 5, 20), load)
    assert [row[4] for row in volumes.rows] == ["hosted", "own"]
