from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.accounting.explain_cost import as_text, explain_cost
from gateway.accounting.receipts import AttemptLine, Receipt, tokens_of
from gateway.core.money import BUCKETS, Price, Rates, Usage, charge
from gateway.prices import price_from

PRICE = price_from({"input": "0.15", "cached_input": "0.0375", "output": "0.60", "per_request": "0.001"})


def kept(usage: Usage, price: Price, **fields: Any) -> dict[str, Any]:
    cost = charge(usage, price)
    receipt = Receipt(
        "req_1",
        5.0,
        "alice",
        200,
        tokens=tokens_of(usage),
        cost=cost.lines,
        cost_nano=cost.nano_usd,
        price_version=cost.price_version,
    )
    read: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(msgspec.structs.replace(receipt, **fields)))
    return read


def test_each_line_tells_its_tokens_rate_exact_amount_and_rounding() -> None:
    told = explain_cost(kept(Usage(fresh_input=7, cached_input=3, output_text=11), PRICE), {PRICE.version: PRICE}.get)
    assert [(line.bucket, line.usd_per_million, line.exact_nano, line.nano_usd) for line in told.lines] == [
        ("fresh_input", "0.15", "1050", 1050),
        ("cached_input", "0.0375", "112.5", 113),
        ("output_text", "0.60", "6600", 6600),
        ("per_request", None, "1000000", 1_000_000),
    ]
    assert (told.agrees, told.price_source, told.tier_above) == (True, "config", None)
    text = as_text(told)
    assert "112.5" in text
    assert "0.001007763" in text


rates = st.builds(Rates, **{bucket: st.integers(0, 10**12) for bucket in BUCKETS})
usages = st.builds(Usage, **{bucket: st.integers(0, 10**6) for bucket in BUCKETS})
prices = st.builds(
    lambda first, second, fee: Price("v", ((0, first), (200_000, second)), fee), rates, rates, st.integers(0, 10**9)
)


@settings(max_examples=100, deadline=None)
@given(usages, prices)
def test_every_booking_is_explained_to_the_nano_dollar(usage: Usage, price: Price) -> None:
    told = explain_cost(kept(usage, price), {"v": price}.get)
    assert told.agrees
    assert told.tier_above == (200_000 if usage.input_tokens > 200_000 else 0)


def test_a_booking_that_its_price_does_not_make_is_called_out() -> None:
    receipt = kept(Usage(fresh_input=7), PRICE)
    receipt["cost_nano"] += 1
    told = explain_cost(receipt, {PRICE.version: PRICE}.get)
    assert told.agrees is False
    assert "do not make up" in as_text(told)


def test_failed_attempts_that_cost_something_are_lines_of_their_own() -> None:
    failed = AttemptLine("gpt#0", "gpt", "openai", reason="stream_cut", cost={"output_text": 500}, cost_nano=500)
    receipt = kept(Usage(fresh_input=1000), PRICE, attempts=(failed, AttemptLine("b#0", "b", "p")))
    receipt["cost_nano"] += 500
    told = explain_cost(receipt, {PRICE.version: PRICE}.get)
    assert [(line.deployment, line.nano_usd) for line in told.failed] == [("gpt", 500)]
    assert told.agrees
    assert "failed at gpt (stream_cut)" in as_text(told)


def test_nothing_is_made_up_where_a_price_is_not_known_or_not_kept() -> None:
    gone = explain_cost(kept(Usage(fresh_input=7), PRICE), {}.get)
    assert (gone.agrees, gone.lines[0].exact_nano, gone.lines[0].nano_usd) == (None, None, 1050)
    unpriced = explain_cost({"id": "a", "tokens": {"fresh_input": 5}}, {}.get)
    assert (unpriced.usd, unpriced.lines, unpriced.agrees) == (None, (), None)
    assert "no sum holds" in as_text(unpriced)
    hit = explain_cost({"id": "a", "cache": "hit", "cost_nano": 0, "saved_nano": 250_000}, {}.get)
    assert hit.notes == ("answered from the cache, which saved $0.00025",)
