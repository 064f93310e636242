"""How much a model may think, in Anthropic's terms, and how many tokens that leaves for the answer.

Sources (2026-11-20): https://platform.claude.com/docs/en/build-with-claude/extended-thinking,
…/adaptive-thinking, …/effort.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._anthropic_model import Model
from adapters._blocks import Declarations
from adapters._thinking import BUDGETS
from gateway.core.blocks import Conversation, Json
from gateway.core.errors import BadRequest

_MAX_TOKENS: Final = 4096  # every model takes this many
_LEAST_BUDGET: Final = 1024  # the API's least

_EFFORTS: Final[Mapping[str, str]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}


class Effort(msgspec.Struct, frozen=True):
    """The request's `thinking`, `output_config.effort` and `max_tokens`; `thinks` rules sampling and forced tools."""

    thinking: Json
    effort: str | None
    max_tokens: int

    @property
    def thinks(self) -> bool:
        return self.thinking is not None and self.thinking.get("type") != "disabled"


def settle(
    conversation: Conversation,
    model: Model,
    max_output: int | None,
    obstacle: tuple[str, str] | None,
    declarations: Declarations,
) -> Effort:
    """Fits what the caller asked to the model.

    `obstacle` is what thinking cannot go with in this request, as (field, why): an effort gives way to it, a
    `thinking` of the caller's own is refused. Raises BadRequest naming the field.
    """
    default = max_output or _MAX_TOKENS
    given = conversation.max_tokens
    if given is not None and given < 1:
        raise BadRequest("max_tokens must be at least 1", param="max_tokens")
    if conversation.thinking is not None:
        return _explicit(conversation, model, given, default, obstacle, declarations)
    effort = conversation.reasoning_effort
    if effort is None:
        return Effort(None, None, given or default)
    if effort == "none":
        return Effort({"type": "disabled"} if model.thinks_unasked else None, None, given or default)
    if effort not in _EFFORTS:
        raise BadRequest(f"reasoning_effort cannot be {effort!r}", param="reasoning_effort")
    if model.thinking == "none":
        declarations.declare("reasoning_effort", "the model does not think, left out")
        return Effort(None, None, given or default)
    if model.thinking == "adaptive":
        thinking: Json = None
        if obstacle is None:
            thinking = {"type": "adaptive"}
            if conversation.extra.get("reasoning_effort.summary") is not None:
                thinking["display"] = "summarized"
        return Effort(thinking, _effort(effort, model, declarations), given or default)
    if obstacle is not None:
        declarations.declare("reasoning_effort", f"left out: {obstacle[1]}")
        return Effort(None, None, given or default)
    return _budgeted(BUDGETS[effort], given, max_output, declarations)


def _effort(effort: str, model: Model, declarations: Declarations) -> str:
    if effort == "xhigh" and not model.effort_xhigh:
        declarations.declare("reasoning_effort", "the model has no xhigh, set to high")
        return "high"
    return _EFFORTS[effort]


def _budgeted(wanted: int, given: int | None, max_output: int | None, declarations: Declarations) -> Effort:
    """Gives thinking what was wanted; of a number of tokens that is fixed at most half, so that an answer is left."""
    fixed = given or max_output
    limit = fixed or wanted + _MAX_TOKENS
    budget = wanted if fixed is None else min(wanted, fixed // 2)
    if budget < _LEAST_BUDGET:
        declarations.declare("reasoning_effort", f"{limit} tokens leave no room to think, left out")
        return Effort(None, None, limit)
    return Effort({"type": "enabled", "budget_tokens": budget}, None, limit)


def _explicit(
    conversation: Conversation,
    model: Model,
    given: int | None,
    default: int,
    obstacle: tuple[str, str] | None,
    declarations: Declarations,
) -> Effort:
    """Passes the caller's own `thinking`, in the form this model takes."""
    thinking = dict(conversation.thinking)
    kind = thinking.get("type")
    asked = conversation.reasoning_effort
    effort = None
    if asked is not None and asked in _EFFORTS and model.thinking == "adaptive":
        effort = _effort(asked, model, declarations)
    if kind == "disabled":
        return Effort(thinking if model.thinks_unasked else None, effort, given or default)
    if model.thinking == "none":
        raise BadRequest("the model does not think", param="thinking")
    if obstacle is not None:
        raise BadRequest(f"thinking cannot be on: {obstacle[1]}", param=obstacle[0])
    if kind == "adaptive" and model.thinking == "budget":
        declarations.declare("thinking", "the model takes a budget, adaptive became one")
        return _budgeted(BUDGETS["high"], given, default, declarations)
    if kind == "enabled" and not model.takes_budget:
        declarations.declare("thinking", "the model sets its own budget, enabled became adaptive")
        return Effort({"type": "adaptive"}, effort, given or default)
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int) or budget < _LEAST_BUDGET:
            raise BadRequest(f"must be an integer of at least {_LEAST_BUDGET}", param="thinking.budget_tokens")
        limit = given or max(default, budget + _MAX_TOKENS)
        if limit <= budget:
            raise BadRequest(f"max_tokens must be more than thinking's budget of {budget}", param="max_tokens")
        return Effort(thinking, effort, limit)
    return Effort(thinking, effort, given or default)
