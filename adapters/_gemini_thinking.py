"""How much a model may think, in Gemini's terms: a budget of tokens for 2.5, a level from 3 on.

Sources (2026-11): https://ai.google.dev/gemini-api/docs/thinking and …/openai#thinking, whose table says which budget
or level an effort stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters._blocks import Declarations
from adapters._gemini_model import Model
from gateway.core.blocks import Conversation, Json
from gateway.core.errors import BadRequest

_BUDGETS: Final[Mapping[str, int]] = {
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 32768,
    "max": 32768,
}
_LEVELS: Final[Mapping[str, str]] = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
    "max": "XHIGH",
}
_DYNAMIC: Final = -1  # the model sees for itself how much it takes


def thinking_config(conversation: Conversation, model: Model, own: Json, declarations: Declarations) -> Json:
    """Returns `thinkingConfig`, or None for the model's default; `own` is Google's, where the caller wrote it.

    Raises BadRequest naming the field for settings that contradict each other, or that the model cannot follow.
    """
    effort, thinking = conversation.reasoning_effort, conversation.thinking
    if own is not None:
        if effort is not None or thinking is not None:
            field = "reasoning_effort" if effort is not None else "thinking"
            raise BadRequest(f"{field} and thinking_config say the same: write one of them", param=field)
        return own
    if thinking is not None:
        return _explicit(thinking, effort, model, conversation.max_tokens, declarations)
    if effort is None:
        return None
    if effort != "none" and effort not in _BUDGETS:
        raise BadRequest(f"reasoning_effort cannot be {effort!r}", param="reasoning_effort")
    if model.thinking == "none":
        if effort != "none":
            declarations.declare("reasoning_effort", "the model does not think, left out")
        return None
    return _by_effort(effort, model, conversation.max_tokens, declarations)


def _by_effort(effort: str, model: Model, max_tokens: int | None, declarations: Declarations) -> Json:
    if effort == "none":
        return _least(model, "reasoning_effort", declarations)
    if model.thinking == "level":
        return {"includeThoughts": True, "thinkingLevel": _level(_LEVELS[effort], model, declarations)}
    return {"includeThoughts": True, "thinkingBudget": _within(_BUDGETS[effort], model, max_tokens)}


def _least(model: Model, field: str, declarations: Declarations) -> Json:
    """Returns as little thinking as the model can do with."""
    if model.rests:
        return {"thinkingBudget": 0}
    declarations.declare(field, "the model cannot do without thinking, set to its least")
    return {"thinkingLevel": model.levels[0]} if model.thinking == "level" else {"thinkingBudget": model.budget[0]}


def _level(wanted: str, model: Model, declarations: Declarations) -> str:
    if wanted in model.levels:
        return wanted
    level = {"MINIMAL": "LOW", "MEDIUM": "HIGH", "XHIGH": "HIGH"}[wanted]
    if wanted != "MEDIUM":  # Google's own table takes medium for high where there is no medium
        declarations.declare("reasoning_effort", f"the model has no {wanted.lower()}, set to {level.lower()}")
    return level


def _within(wanted: int, model: Model, max_tokens: int | None) -> int:
    """Fits a budget to the model; thinking counts against `max_tokens`, so at most half of it is thought away."""
    least, most = model.budget
    if max_tokens is not None:
        wanted = min(wanted, max_tokens // 2)
    return min(max(wanted, least), most)


def _explicit(
    thinking: Mapping[str, Json], effort: str | None, model: Model, max_tokens: int | None, declarations: Declarations
) -> Json:
    """Reads another provider's setting: {"type": "enabled", "budget_tokens": …}, adaptive or disabled."""
    kind = thinking.get("type")
    if kind == "disabled":
        return None if model.thinking == "none" else _least(model, "thinking", declarations)
    if kind not in ("enabled", "adaptive"):
        raise BadRequest("thinking.type must be enabled, adaptive or disabled", param="thinking.type")
    if model.thinking == "none":
        raise BadRequest("the model does not think", param="thinking")
    if effort is not None and effort in _BUDGETS:
        return _by_effort(effort, model, max_tokens, declarations)
    budget = thinking.get("budget_tokens")
    if kind == "adaptive" or budget is None:
        return {"includeThoughts": True} | ({"thinkingBudget": _DYNAMIC} if model.thinking == "budget" else {})
    if not isinstance(budget, int) or isinstance(budget, bool) or budget < 1:
        raise BadRequest("thinking.budget_tokens must be an integer of at least 1", param="thinking.budget_tokens")
    if model.thinking == "level":
        level = next((level for level, most in _LEVELS_BY_BUDGET if budget <= most), "HIGH")
        declarations.declare("thinking.budget_tokens", f"the model thinks by level, set to {level.lower()}")
        return {"includeThoughts": True, "thinkingLevel": level if level in model.levels else "HIGH"}
    fitted = min(max(budget, model.budget[0]), model.budget[1])
    if fitted != budget:
        declarations.declare("thinking.budget_tokens", f"the model thinks with {model.budget} tokens, set to {fitted}")
    return {"includeThoughts": True, "thinkingBudget": fitted}


_LEVELS_BY_BUDGET: Final = (("LOW", _BUDGETS["low"]), ("MEDIUM", _BUDGETS["medium"]))
