"""How many tokens of thinking an effort stands for, and which effort a `thinking` in Anthropic's form does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.core.blocks import Json

# Anthropic names no such table: the numbers are the gateway's own.
BUDGETS: Final[Mapping[str, int]] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 32768,
    "max": 32768,
}
# The efforts that every model takes that takes any: gpt-5.1 and later refuse "minimal", earlier ones "xhigh"
# (https://github.com/openai/openai-agents-python/issues/2089, 2025-11).
_EFFORTS: Final = ("low", "medium")


def effort_of(thinking: Mapping[str, Json]) -> str:
    """Returns the least effort whose budget holds that of `thinking`; without one it is "high", Anthropic's default."""
    if thinking.get("type") == "disabled":
        return "none"
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int):
        return "high"
    return next((effort for effort in _EFFORTS if budget <= BUDGETS[effort]), "high")
