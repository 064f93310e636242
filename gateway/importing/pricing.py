"""LiteLLM's dollars per token -> dollars per million tokens, as exact text.

Source: https://docs.litellm.ai/docs/proxy/custom_pricing and the fields of LiteLLM's own `CustomPricingLiteLLMParams`
(2026-11).
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

from gateway.core.money import MILLION
from gateway.importing.given import Given

PRICES: Final = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_token": "output",
    "output_cost_per_audio_token": "audio_output",
    "output_cost_per_reasoning_token": "reasoning",
}
_NINTH: Final = Decimal(1).scaleb(-9)
_MOST: Final = Decimal(10) ** 12


def per_million(given: Given) -> tuple[str, bool] | None:
    """Returns the dollars per million tokens, and whether they are exact; None where it is no amount."""
    try:
        # A float's shortest decimal is the text that it was read from, up to fifteen digits.
        amount = Decimal(repr(given.value) if isinstance(given.value, float | int) else str(given.value)) * MILLION
    except InvalidOperation:
        return None
    if isinstance(given.value, bool) or not amount.is_finite() or not 0 <= amount < _MOST:
        return None
    rounded = amount.quantize(_NINTH) if amount != amount.to_integral_value() else amount.to_integral_value()
    whole, _, fraction = f"{rounded:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}", rounded == amount


def take_price(sources: list[Given]) -> dict[str, str] | str | None:
    """Takes over the prices of a model, from `litellm_params` before `model_info`; None where there are none."""
    price: dict[str, str] = {}
    for source in sources:
        for key, word in PRICES.items():
            given = source.get(key)
            if given is None or given.value is None:
                continue
            read = per_million(given)
            if read is None:
                given.lost("no amount of dollars")
            elif word in price:
                given.near(f'price.{word}: "{price[word]}"', "the one in litellm_params holds")
            else:
                price[word], exact = read
                became = f'price.{word}: "{price[word]}"'
                if exact:
                    given.exact(became, "dollars per million tokens")
                else:
                    given.near(became, "rounded to the nano-dollar per million tokens")
    if not price:
        return None
    # What is not named costs nothing there; here both are named, so that nothing is free by accident.
    whole = {"input": "0.00", "output": "0.00"} | price
    if all(Decimal(amount) == 0 for amount in whole.values()):
        return "free"
    return {word: whole[word] for word in PRICES.values() if word in whole}
