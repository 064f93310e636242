"""The policies that remove: clearance, location, retention, provider, deployment, price cap, capability, window."""

from __future__ import annotations

from gateway.core.money import FREE, Price, Rates
from gateway.core.policy import Ranking, View
from policies.capable import Capable
from policies.clearance import Clearance
from policies.context_window import ContextWindow
from policies.deployment import Named
from policies.location import Location
from policies.price_cap import PriceCap
from policies.provider import Provider
from policies.retention import Retention

VIEW = View(now=0.0, draw=0.5)
LEVELS = ("public", "internal", "confidential", "restricted")


def names(ranking: Ranking) -> list[str]:
    return [deployment.name for deployment in ranking.kept]


def whys(ranking: Ranking) -> dict[str, str]:
    return {removal.deployment: removal.why for removal in ranking.removed}


def test_clearance_removes_whoever_may_not_see_the_level_and_names_both_levels(make, ask):
    pool, hosted = make("pool", clearance=3), make("hosted", clearance=1)
    ranking = Clearance(LEVELS).rank(ask(level=3), [hosted, pool], VIEW)
    assert names(ranking) == ["pool"]
    assert whys(ranking) == {"hosted": "restricted > internal"}


def test_a_clearance_that_equals_the_level_suffices(make, ask):
    assert names(Clearance(LEVELS).rank(ask(level=1), [make("hosted", clearance=1)], VIEW)) == ["hosted"]


def test_an_unknown_location_or_retention_is_never_among_the_allowed(make, ask):
    candidates = [make("eu", location="eu", retention="zdr"), make("nowhere")]
    assert names(Location(["eu", "self_hosted"]).rank(ask(), candidates, VIEW)) == ["eu"]
    ranking = Retention(["none", "zdr"]).rank(ask(), candidates, VIEW)
    assert whys(ranking) == {"nowhere": "retention unknown is not none or zdr"}


def test_provider_and_deployment_keep_what_they_name(make, ask):
    candidates = [make("a", provider="openai"), make("b", provider="azure")]
    assert names(Provider(["azure"]).rank(ask(), candidates, VIEW)) == ["b"]
    assert names(Named(["a"]).rank(ask(), candidates, VIEW)) == ["a"]


def test_a_price_at_the_ceiling_is_within_it_and_an_unknown_one_is_not(make, ask):
    candidates = [
        make("at", ("5.00", "20.00")),
        make("over", ("5.01", "1.00")),
        make("unknown"),
        make("free", price=FREE),
    ]
    ranking = PriceCap(5_000_000_000, 20_000_000_000).rank(ask(), candidates, VIEW)
    assert names(ranking) == ["at", "free"]
    assert whys(ranking) == {"over": "input 5.01 > 5.00", "unknown": "its price is unknown"}


def test_a_price_cap_holds_for_the_dearest_tier(make, ask):
    tiers = ((0, Rates(1_000_000_000, output_text=1)), (200_000, Rates(9_000_000_000, output_text=1)))
    ranking = PriceCap(input_nano=5_000_000_000).rank(ask(), [make("tiered", price=Price("v", tiers))], VIEW)
    assert whys(ranking) == {"tiered": "input 9.00 > 5.00"}


def test_capability_names_what_is_missing_and_assumes_everything_where_nothing_is_known(make, ask):
    candidates = [
        make("full", capabilities=frozenset({"tools", "vision"})),
        make("plain", capabilities=frozenset({"logprobs"})),
        make("unknown"),
        make("embedder", serves=frozenset({"embeddings"})),
    ]
    ranking = Capable().rank(ask(needs=frozenset({"tools", "vision"})), candidates, VIEW)
    assert names(ranking) == ["full", "unknown"]
    assert whys(ranking) == {"plain": "tools, vision", "embedder": "chat"}


def test_a_window_must_hold_the_prompt_and_the_answer_asked_for(make, ask):
    candidates = [make("small", context_window=8_000), make("large", context_window=128_000), make("unknown")]
    ranking = ContextWindow().rank(ask(input_tokens=7_000, max_tokens=2_000), candidates, VIEW)
    assert names(ranking) == ["large", "unknown"]
    assert whys(ranking) == {"small": "about 9000 tokens > 8000"}


def test_where_nobody_fits_by_estimate_the_largest_window_is_tried_until_the_estimate_cannot_be_that_wrong(make, ask):
    candidates = [make("small", context_window=8_000), make("large", context_window=10_000)]
    ranking = ContextWindow().rank(ask(input_tokens=12_000), candidates, VIEW)
    assert names(ranking) == ["large"]
    assert list(whys(ranking)) == ["small"]
    assert "largest window" in ranking.note
    assert names(ContextWindow().rank(ask(input_tokens=20_001), candidates, VIEW)) == []


def test_the_size_of_a_body_judges_neither_media_nor_batches_of_embeddings(make, ask):
    small = [make("small", context_window=8_000)]
    assert names(ContextWindow().rank(ask(input_tokens=10**6, has_media=True), small, VIEW)) == ["small"]
    assert names(ContextWindow().rank(ask(input_tokens=10**6, endpoint="embeddings"), small, VIEW)) == ["small"]
