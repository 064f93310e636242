"""What a Claude model takes, told by its version: the API refuses what a model is too old or too new for.

Sources, read 2026-11-20: https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking, …/effort,
…/structured-outputs, …/mid-conversation-system-messages, https://platform.claude.com/docs/en/api/errors#prefill-not-supported
and https://platform.claude.com/docs/en/about-claude/models/migration-guide.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec

from gateway.core.types import Deployment

# The family stands on either side: claude-3-5-haiku-20241022, claude-opus-4-8, claude-sonnet-4-20250514
_VERSION: Final = re.compile(r"claude-(?:([a-z]+)-)?(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")

# A name that tells no version (an alias, a preview) is taken for a current model.
_CURRENT: Final = (5, 0)


class Model(msgspec.Struct, frozen=True):
    """A model's abilities; `thinking` is "none", "budget" (a number of tokens) or "adaptive" (an effort)."""

    thinking: str
    takes_budget: bool
    thinks_unasked: bool
    effort_xhigh: bool
    sampling: bool
    temperature_with_top_p: bool
    prefill: bool
    structured: bool
    mid_system: bool


def model_of(deployment: Deployment) -> Model:
    """Returns the abilities; the option `claude_version` ("4.5") says the version where the name does not."""
    return _model(deployment.model, deployment.options.get("claude_version"))


@lru_cache(maxsize=256)
def _model(name: str, stated: str | None) -> Model:
    match = _VERSION.search(f"claude-{stated}" if stated else name)
    family = match[1] if match else None
    version = (int(match[2]), int(match[3] or 0)) if match else _CURRENT
    return Model(
        thinking="adaptive" if version >= (4, 6) else "budget" if version >= (3, 7) else "none",
        takes_budget=(3, 7) <= version < (4, 7),
        thinks_unasked=version >= (5, 0),
        effort_xhigh=version >= (4, 7),
        sampling=version < (4, 7),
        temperature_with_top_p=version < (4, 1),
        prefill=version < (4, 6),
        structured=version >= (4, 5),
        mid_system=version >= (4, 8) and (family, version) != ("sonnet", (5, 0)),
    )
