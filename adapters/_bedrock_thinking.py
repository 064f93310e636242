"""How much a model may think, in the words of its family, and what that leaves for the answer.

Sources: https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html (2026-11); for the others see
`_bedrock_model`. Claude's own fields go to it as they are; its effort in `output_config`, since Converse's
`outputConfig.effort` was refused by the models that think (a live test of 2026-08).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._anthropic_thinking import settle
from adapters._bedrock_model import Family
from adapters._blocks import Declarations
from gateway.core.blocks import Conversation, Json
from gateway.core.errors import BadRequest

_EFFORTS: Final = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
_THREE: Final[Mapping[str, str]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}


class Effort(msgspec.Struct, frozen=True):
    """What rides in `additionalModelRequestFields`, and `maxTokens` (None: the model's own most).

    `thinks` rules sampling and forced tools of a Claude; `unsampled`: nothing of `inferenceConfig` but stops is taken.
    """

    fields: Mapping[str, Json]
    max_tokens: int | None
    thinks: bool = False
    unsampled: bool = False


def settled(
    conversation: Conversation,
    family: Family,
    max_output: int | None,
    obstacle: tuple[str, str] | None,
    declarations: Declarations,
) -> Effort:
    """Fits what the caller asked to the family.

    `obstacle` is what a Claude's thinking cannot go with, as (field, why). Raises BadRequest naming the field.
    """
    if family.claude is not None:
        return _claude(conversation, family, max_output, obstacle, declarations)
    given = conversation.max_tokens
    if given is not None and given < 1:
        raise BadRequest("max_tokens must be at least 1", param="max_tokens")
    limit = given or max_output
    thinking = conversation.thinking
    if thinking is not None and thinking.get("type") != "disabled":
        raise BadRequest("the model takes no thinking; reasoning_effort may say how much", param="thinking")
    effort = conversation.reasoning_effort
    if effort is None:
        return Effort({}, limit)
    if effort not in _EFFORTS:
        raise BadRequest(f"reasoning_effort cannot be {effort!r}", param="reasoning_effort")
    if family.reasoning == "nested":
        return Effort({"reasoning": {"effort": effort}}, limit)
    if effort == "none":
        if family.reasoning == "flat":
            declarations.declare("reasoning_effort", "the model always thinks, left out")
        return Effort({}, limit)
    if not family.reasoning:
        declarations.declare("reasoning_effort", "the model takes no effort, left out")
        return Effort({}, limit)
    level = _THREE[effort]
    if level != effort:
        declarations.declare("reasoning_effort", f"the model has no {effort}, set to {level}")
    if family.reasoning == "flat":
        return Effort({"reasoning_effort": level}, limit)
    if level == "high" and given is not None:
        # High effort takes neither sampling nor a bound, and a caller's bound is not to be broken.
        declarations.declare("reasoning_effort", "high does not go with max_tokens, set to medium")
        level = "medium"
    unsampled = level == "high"
    fields = {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}}
    return Effort(fields, None if unsampled else limit, unsampled=unsampled)


def _claude(
    conversation: Conversation,
    family: Family,
    max_output: int | None,
    obstacle: tuple[str, str] | None,
    declarations: Declarations,
) -> Effort:
    assert family.claude is not None
    effort = settle(conversation, family.claude, max_output, obstacle, declarations)
    fields: dict[str, Json] = {}
    if effort.thinking is not None:
        fields["thinking"] = effort.thinking
    if effort.effort is not None:
        fields["output_config"] = {"effort": effort.effort}
    # Converse asks for no bound, as Anthropic does; a budget of thinking must stay below one.
    budgeted = effort.thinking is not None and "budget_tokens" in effort.thinking
    bound = conversation.max_tokens is not None or max_output is not None or budgeted
    return Effort(fields, effort.max_tokens if bound else None, thinks=effort.thinks)
