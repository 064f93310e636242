import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from genai_prices.data import providers
from genai_prices.types import ModelInfo
from genai_prices.types import Usage as TheirUsage
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import BUCKETS, FREE, Price, Rates, Usage, charge, usd
from gateway.prices import CATALOGUE_NAMES, UNKNOWN, Catalogue, price_from

DAY = date(2026, 11, 20)
CATALOGUE = Catalogue(DAY)


def list_price(kind: str, model: str, day: date = DAY) -> Price:
    price = Catalogue(day).find(kind, model).price
    assert price is not None
    return price


# -- golden dollars -----------------------------------------------------------------------------------------------


def test_openai_cached_and_reasoning_tokens_are_charged_once_each() -> None:
    price = list_price("openai", "gpt-5-mini")  # 0.25 in, 0.025 cached, 2.00 out
    cost = charge(Usage(fresh_input=93, cached_input=1024, output_text=58, reasoning=192), price)
    assert cost.lines == {"fresh_input": 23_250, "cached_input": 25_600, "output_text": 116_000, "reasoning": 384_000}
    assert usd(cost.nano_usd) == "0.00054885"


def test_anthropic_cache_writes_have_the_price_of_their_lifetime() -> None:
    price = list_price("anthropic", "claude-haiku-4-5")  # 1.00 in, 0.10 read, 1.25 and 2.00 written, 5.00 out
    usage = Usage(fresh_input=7, cached_input=2048, cache_write_5m=1000, cache_write_1h=500, output_text=33)
    cost = charge(usage, price)
    assert cost.lines == {
        "fresh_input": 7_000,
        "output_text": 165_000,
        "cached_input": 204_800,
        "cache_write_5m": 1_250_000,
        "cache_write_1h": 1_000_000,
    }
    assert usd(cost.nano_usd) == "0.0026268"


@pytest.mark.parametrize(
    ("cached", "nano"),
    [(199_000, 1000 * 3000 + 199_000 * 300 + 15_000), (199_001, 1000 * 6000 + 199_001 * 600 + 22_500)],
)
def test_a_long_prompt_is_charged_whole_at_its_tier_cached_tokens_counting(cached: int, nano: int) -> None:
    price = list_price("anthropic", "claude-sonnet-4-5")  # over 200,000: 6.00 in, 0.60 read, 22.50 out
    assert charge(Usage(fresh_input=1000, cached_input=cached, output_text=1), price).nano_usd == nano


def test_a_service_tier_that_the_answer_names_has_its_own_price_and_version() -> None:
    price = list_price("openai", "gpt-5-mini")
    usage = Usage(fresh_input=1_000_000, output_text=1_000_000)
    costs = {
        tier: charge(Usage(fresh_input=1_000_000, output_text=1_000_000, service_tier=tier), price)
        for tier in ("default", "flex", "priority", "unheard_of")
    }
    assert {tier: usd(cost.nano_usd) for tier, cost in costs.items()} == {
        "default": "2.25",
        "flex": "1.125",
        "priority": "4.05",
        "unheard_of": "2.25",
    }
    assert costs["flex"].price_version != costs["default"].price_version == charge(usage, price).price_version


def test_a_line_is_rounded_half_up_once() -> None:
    price = price_from({"input": "0.0005", "output": "0.0004"})
    assert charge(Usage(fresh_input=1, output_text=1), price).lines == {"fresh_input": 1, "output_text": 0}


def test_a_fee_per_request_is_a_line_of_its_own() -> None:
    cost = charge(Usage(fresh_input=1000), price_from({"input": "1", "output": "1", "per_request": "0.005"}))
    assert cost.lines == {"fresh_input": 1_000_000, "per_request": 5_000_000}
    assert cost.nano_usd == 6_000_000


counts = st.integers(0, 10**9)
rates = st.integers(0, 10**13)


@given(
    st.builds(Usage, **dict.fromkeys(BUCKETS, counts)),
    st.builds(Rates, **{b: rates if b in ("fresh_input", "output_text") else st.none() | rates for b in BUCKETS}),
    st.integers(0, 10**9),
)
def test_lines_sum_to_the_total_and_each_is_within_half_a_nano_dollar(usage: Usage, rated: Rates, fee: int) -> None:
    cost = charge(usage, Price("v", ((0, rated),), per_request_nano=fee))
    assert sum(cost.lines.values()) == cost.nano_usd
    for bucket in BUCKETS:
        rate = getattr(rated, bucket)
        if rate is not None:
            exact = Decimal(getattr(usage, bucket)) * rate / 1_000_000
            assert abs(cost.lines.get(bucket, 0) - exact) <= Decimal("0.5")


# -- the catalogue ------------------------------------------------------------------------------------------------


NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
THEIRS = {provider.id: provider for provider in providers}


def computed_by_the_package(model: ModelInfo, provider: str, usage: Usage) -> Decimal:
    counted = TheirUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_input,
        cache_write_tokens=usage.cache_write_5m,
        output_tokens=usage.output_tokens,
        output_reasoning_tokens=usage.reasoning,
    )
    return model.calc_price(counted, THEIRS[provider], genai_request_timestamp=NOON).total_price


def test_every_list_price_charges_what_the_package_itself_computes() -> None:
    compared = 0
    for kind, provider in CATALOGUE_NAMES.items():
        for model in {model.id for model in THEIRS[provider].models}:
            facts, theirs = CATALOGUE.find(kind, model), THEIRS[provider].find_model(model, all_providers=providers)
            if facts.price is None or theirs is None:
                continue
            for size in (1_000, 250_000, 600_000):
                usage = Usage(fresh_input=size, cached_input=7, cache_write_5m=11, output_text=13, reasoning=17)
                total = computed_by_the_package(theirs, provider, usage)
                ours = Decimal(charge(usage, facts.price).nano_usd) / 10**9
                if any("hour of the day" in note for note in facts.notes):
                    assert ours >= total
                else:
                    assert abs(ours - total) <= Decimal("3e-9"), (kind, model, size)  # five lines, half a unit each
                compared += 1
    assert compared > 3000


def test_a_price_that_changes_with_the_hour_is_the_dearest_and_says_so() -> None:
    facts = CATALOGUE.find("deepseek", "deepseek-v4-flash")
    assert facts.price is not None
    assert facts.price.tiers[0][1].fresh_input == 300_000_000  # 0.15 off-peak
    assert facts.notes == ("the price changes with the hour of the day: the dearest is charged",)


def test_a_price_is_the_one_of_its_day() -> None:
    later = list_price("openai", "gpt-5-mini", date(2026, 10, 12))
    earlier = list_price("openai", "gpt-5-mini", date(2026, 10, 11))
    assert later.service_tiers.keys() == {"flex", "priority", "fast"}
    assert earlier.service_tiers == {}
    assert earlier.version != later.version


def test_what_has_no_token_price_is_unknown_and_not_free() -> None:
    facts = CATALOGUE.find("openai", "whisper-1")
    assert facts.price is None
    assert facts.notes == ("not charged: audio_hours, input_audio_hours",)
    assert CATALOGUE.find("openai", "no-such-model") == UNKNOWN
    assert CATALOGUE.find("vllm", "gpt-5-mini") == UNKNOWN


def test_the_catalogue_knows_context_windows() -> None:
    assert CATALOGUE.find("openai", "gpt-5-mini").context_window == 400_000


def test_the_catalogue_is_read_only_when_a_deployment_needs_it() -> None:
    script = (
        "import sys, datetime; from gateway.prices import Catalogue;"
        "Catalogue(datetime.date(2026, 11, 20)).find('vllm', 'qwen'); assert 'genai_prices' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# -- prices as written --------------------------------------------------------------------------------------------


def test_a_written_price_is_exact() -> None:
    price = price_from({"input": "0.25", "cached_input": "0.025", "output": "2.00"})
    assert price.tiers == ((0, Rates(fresh_input=250_000_000, cached_input=25_000_000, output_text=2_000_000_000)),)
    assert price.source == "config"


def test_the_version_is_the_hash_of_the_rates() -> None:
    written = {"input": "0.25", "cached_input": "0.025", "output": "2.00"}
    assert price_from(written).version == price_from({**written, "output": "2"}, source="ceiling").version
    assert price_from(written).version != price_from({**written, "output": "2.000000001"}).version


def test_free_is_free_on_purpose() -> None:
    assert price_from("free") is FREE


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("gratis", "gratis"),
        ({"input": "1"}, "output"),
        ({"output": "1"}, "input"),
        ({"input": "1", "output": "1", "ouput": "2"}, "'ouput'"),
        ({"input": "1", "output": "-1"}, "output"),
        ({"input": "1,5", "output": "1"}, "input"),
        ({"input": "NaN", "output": "1"}, "input"),
        ({"input": "0.0000000001", "output": "1"}, "nine decimals"),
    ],
)
def test_what_is_no_price_is_refused_by_name(written: str | dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        price_from(written)
