"""What a Gemini model takes, told by its version: the API refuses what a model is too old or too new for.

Sources, read 2026-11: https://ai.google.dev/gemini-api/docs/thinking (levels, budgets), …/thought-signatures,
…/function-calling, …/structured-output, …/generate-content/whats-new-gemini-3.6 (sampling, penalties and turns of the
model at the end are gone) and https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/guides.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec

from gateway.core.types import Deployment

# gemini-2.5-flash-lite, gemini-3-pro-preview, gemini-2.0-flash-001; an alias (gemini-flash-latest) has no number
_VERSION: Final = re.compile(r"gemini-(\d{1,2})(?!\d)(?:\.(\d{1,2})(?!\d))?")
_FAMILY: Final = re.compile(r"flash-lite|flash|pro")

# A name that tells no version is taken for a current model.
_CURRENT: Final = (3, 8)

_OPEN_WEIGHTS: Final = "gemma"

_FLASH_LEVELS: Final = ("MINIMAL", "LOW", "MEDIUM", "HIGH")
_PRO_LEVELS: Final = ("LOW", "MEDIUM", "HIGH")
_FIRST_PRO_LEVELS: Final = ("LOW", "HIGH")  # of Gemini 3 Pro

# (least, most) tokens of a thinking budget; Pro cannot do without one.
_BUDGETS: Final = {"pro": (128, 32768), "flash": (1, 24576), "flash-lite": (512, 24576)}


class Model(msgspec.Struct, frozen=True):
    """A model's abilities.

    `thinking` is "none", "budget" (tokens between `budget`) or "level" (one of `levels`, the least first). `rests`: its
    thinking can be switched off. `signs_calls`: a history's first call of each step must carry a thought signature.
    `json_schema`: schemas are taken as they are, not as the OpenAPI subset. `mixes_tools`: Google's own tools stand
    beside functions. `media_results`: a function's response may hold media. `validates`: calls are held to their
    schema on demand.
    """

    thinking: str
    budget: tuple[int, int]
    rests: bool
    levels: tuple[str, ...]
    signs_calls: bool
    json_schema: bool
    system: bool
    sampling: bool
    prefill: bool
    format_with_tools: bool
    mixes_tools: bool
    media_results: bool
    validates: bool
    prefers_default_temperature: bool


def model_of(deployment: Deployment) -> Model:
    """Returns the abilities; `base_model` says the model where the name does not (a tuned one's)."""
    return _model(deployment.options.get("base_model") or deployment.model)


@lru_cache(maxsize=256)
def _model(name: str) -> Model:
    found = _VERSION.search(name)
    version = (int(found[1]), int(found[2] or 0)) if found else _CURRENT
    family_found = _FAMILY.search(name)
    family = family_found[0] if family_found else "flash"
    if _OPEN_WEIGHTS in name:
        version = (1, 5)
    third = version >= (3, 0)
    levels: tuple[str, ...] = ()
    if third:
        levels = _FLASH_LEVELS if family != "pro" else _PRO_LEVELS if version >= (3, 1) else _FIRST_PRO_LEVELS
    newest = version >= (3, 6) or (version >= (3, 5) and family == "flash-lite")
    return Model(
        thinking="level" if third else "budget" if version >= (2, 5) else "none",
        budget=_BUDGETS[family],
        rests=not third and family != "pro",
        levels=levels,
        signs_calls=third,
        json_schema=version >= (2, 0),
        system=_OPEN_WEIGHTS not in name,
        sampling=not newest,
        prefill=not newest,
        format_with_tools=third,
        mixes_tools=third,
        media_results=third,
        validates=version >= (2, 5),
        prefers_default_temperature=third,
    )
