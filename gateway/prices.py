"""What tokens cost: the catalogue of list prices compiled into exact rates, and prices as a config writes them.

The catalogue is the data that ships inside the `genai-prices` package; nothing is fetched. Its module of 2,300 models
takes some 170 ms to import, so that it is read on the first look-up that needs it, and one model at a time is compiled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.core.money import FREE, NANO_PER_USD, Price, Rates, rate_from_usd

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

# kind of provider in a config -> the catalogue's name for it; a kind that is not here has no list prices
CATALOGUE_NAMES: Final[Mapping[str, str]] = {
    "openai": "openai",
    "azure": "azure",
    "anthropic": "anthropic",
    "gemini": "google",
    "vertex": "google",
    "bedrock": "aws",
    "bedrock_openai": "aws",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "groq": "groq",
    "mistral": "mistral",
    "moonshot": "moonshotai",
    "novita": "novita",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "xai": "x-ai",
}

# bucket of ours -> the catalogue's keys for it, the first that is there holds
_TOKEN_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "fresh_input": ("input_mtok", "input_text_mtok"),
    "cached_input": ("cache_read_mtok", "cache_text_read_mtok"),
    "cache_write_5m": ("cache_write_5m_mtok", "cache_write_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok",),
    "audio_input": ("input_audio_mtok",),
    "image_input": ("input_image_mtok",),
    "output_text": ("output_mtok", "output_text_mtok"),
    "reasoning": ("output_reasoning_mtok",),
    "audio_output": ("output_audio_mtok",),
}
_READ_KEYS: Final = frozenset(key for keys in _TOKEN_KEYS.values() for key in keys) | {"requests_kcount"}
# without one of these, tokens have no price at all: such a model (speech by the hour) is unknown here, not free
_ENOUGH: Final = frozenset({"input_mtok", "input_text_mtok", "output_mtok", "output_text_mtok", "requests_kcount"})

# word in a config's `price` -> bucket
WRITTEN_BUCKETS: Final[Mapping[str, str]] = {
    "input": "fresh_input",
    "cached_input": "cached_input",
    "cache_write_5m": "cache_write_5m",
    "cache_write_1h": "cache_write_1h",
    "audio_input": "audio_input",
    "image_input": "image_input",
    "output": "output_text",
    "reasoning": "reasoning",
    "audio_output": "audio_output",
}


class Facts(msgspec.Struct, frozen=True):
    """What the catalogue knows of a model. `price` of None is unknown. `notes` say what the price leaves out."""

    price: Price | None = None
    context_window: int | None = None
    notes: tuple[str, ...] = ()


UNKNOWN: Final = Facts()


class Catalogue:
    """List prices as they stand on one day; `find` reads the package's data on its first use."""

    def __init__(self, day: date) -> None:
        self._day = day
        self._found: dict[tuple[str, str], Facts] = {}
        self._providers: dict[str, Provider] = {}

    def find(self, provider_kind: str, model: str) -> Facts:
        """Returns what is known of a provider's model; `UNKNOWN` for a kind without prices and for one unheard of."""
        name = CATALOGUE_NAMES.get(provider_kind)
        if name is None:
            return UNKNOWN
        facts = self._found.get((name, model))
        if facts is None:
            entry = self._entry(name, model)
            facts = UNKNOWN if entry is None else _compile(entry, self._day)
            self._found[name, model] = facts
        return facts

    def _entry(self, name: str, model: str) -> ModelInfo | None:
        if not self._providers:
            from genai_prices.data import providers

            self._providers = {provider.id: provider for provider in providers}
        return self._providers[name].find_model(model, all_providers=list(self._providers.values()))


def price_from(written: str | Mapping[str, str], source: str = "config") -> Price:
    """Reads a price as a config writes it: the word `free`, or decimal dollars per million tokens by kind of token.

    `per_request` is dollars per answered call. Raises ValueError, naming the word, for an unknown kind of token, a
    missing `input` or `output` (unknown is never zero), and a text that is no exact amount.
    """
    if isinstance(written, str):
        if written == "free":
            return FREE
        raise ValueError(f"{written!r} is no price: write free, or input and output in dollars per million tokens")
    for word in written:
        if word != "per_request" and word not in WRITTEN_BUCKETS:
            raise ValueError(f"{word!r} is no part of a price: {', '.join([*WRITTEN_BUCKETS, 'per_request'])}")
    for word in ("input", "output"):
        if word not in written:
            raise ValueError(f"a price needs {word!r}: what is not named would be free")
    rates = {WRITTEN_BUCKETS[word]: _amount(word, text) for word, text in written.items() if word != "per_request"}
    per_request_nano = _amount("per_request", written.get("per_request", "0"))
    return _versioned(((0, Rates(**rates)),), per_request_nano, source, {})


def priced(rates: Rates, source: str) -> Price:
    """Makes a price of rates that were worked out."""
    return _versioned(((0, rates),), 0, source, {})


def _amount(word: str, text: str) -> int:
    try:
        return rate_from_usd(text)
    except (ArithmeticError, ValueError):
        raise ValueError(f"{word}: {text!r} is not an amount of dollars with at most nine decimals") from None


def _versioned(
    tiers: tuple[tuple[int, Rates], ...], per_request_nano: int, source: str, service_tiers: Mapping[str, Price]
) -> Price:
    """Names a price by the hash of what it charges: equal rates have one version, wherever they come from."""
    versions = sorted((name, price.version) for name, price in service_tiers.items())
    digest = hashlib.sha256(msgspec.json.encode((tiers, per_request_nano, versions))).hexdigest()
    return Price(digest[:16], tiers, per_request_nano, source, service_tiers)


# -- one model of the catalogue -----------------------------------------------------------------------------------


def _compile(entry: ModelInfo, day: date) -> Facts:
    standard, notes = _on(entry, day)
    price = _price(_named(standard)) if standard is not None else None
    if standard is not None and price is not None:
        service_tiers: dict[str, Price] = {}
        for name, variant in _service_tiers(entry, day):
            tier_price = _price(_named(standard) | _named(variant))
            if name not in service_tiers and tier_price is not None and tier_price.version != price.version:
                service_tiers[name] = tier_price
        if service_tiers:
            price = _versioned(price.tiers, price.per_request_nano, price.source, service_tiers)
    return Facts(price, entry.context_window, tuple(notes))


def _on(entry: ModelInfo, day: date) -> tuple[ModelPrice | None, list[str]]:
    """Picks the prices of a day, and says what they leave out. Of prices that change with the hour, the dearest."""
    from genai_prices.types import ModelPrice, StartDateConstraint

    if isinstance(entry.prices, ModelPrice):
        in_force = [entry.prices]
    else:
        in_force = []
        for conditional in reversed(entry.prices):  # the last that is active holds
            constraint = conditional.constraint
            if isinstance(constraint, StartDateConstraint) and constraint.start_date > day:
                continue
            in_force.append(conditional.prices)
            if constraint is None or isinstance(constraint, StartDateConstraint):
                break
    if not in_force:
        return None, ["no price in force"]
    dearest = max(in_force, key=lambda prices: sum(_base(value) for value in _named(prices).values()))
    notes = ["the price changes with the hour of the day: the dearest is charged"] if len(in_force) > 1 else []
    left_out = sorted(_named(dearest).keys() - _READ_KEYS)
    if left_out:
        notes.append(f"not charged: {', '.join(left_out)}")
    return dearest, notes


def _service_tiers(entry: ModelInfo, day: date) -> Iterator[tuple[str, ModelPrice]]:
    """Yields the prices of service tiers ("flex", "priority"), which the answer names; the first of a name holds."""
    from genai_prices.types import StartDateConstraint

    for variant in entry.price_variants or ():
        if isinstance(variant.constraint, StartDateConstraint) and variant.constraint.start_date > day:
            continue
        if variant.when.keys() == {"service_tier"}:
            yield variant.when["service_tier"], variant.prices


def _named(prices: ModelPrice) -> dict[str, object]:
    return {key: value for key, value in vars(prices).items() if value is not None}


def _price(values: Mapping[str, object]) -> Price | None:
    """Compiles one set of prices; None where nothing that is counted in tokens or calls has a price."""
    if values.keys().isdisjoint(_ENOUGH):
        return None
    by_bucket = {
        bucket: next(values[key] for key in keys if key in values)
        for bucket, keys in _TOKEN_KEYS.items()
        if not values.keys().isdisjoint(keys)
    }
    starts = {0}.union(*(_starts(value) for value in by_bucket.values()))
    tiers = tuple(
        (start, Rates(**{bucket: _rate(_at(value, start)) for bucket, value in by_bucket.items()}))
        for start in sorted(starts)
    )
    per_request_nano = _rate(_base(values["requests_kcount"]) / 1000) if "requests_kcount" in values else 0
    return _versioned(tiers, per_request_nano, "catalogue", {})


def _base(value: object) -> Decimal:
    base = getattr(value, "base", value)
    assert isinstance(base, Decimal)
    return base


def _starts(value: object) -> set[int]:
    return {tier.start for tier in getattr(value, "tiers", ())}


def _at(value: object, input_tokens_above: int) -> Decimal:
    """Returns the price that holds for prompts just above a size."""
    price = _base(value)
    for tier in getattr(value, "tiers", ()):  # ascending: the package sorts them
        if tier.start <= input_tokens_above:
            price = tier.price
    return price


def _rate(usd_per_million: Decimal) -> int:
    """Rounds to the nano-dollar: 28 of the catalogue's prices were floats once (0.18000000000000002)."""
    return int((usd_per_million * NANO_PER_USD).to_integral_value(ROUND_HALF_UP))
