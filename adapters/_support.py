"""What a provider's wire does with what callers ask, as data: the rows of the support matrix.

An adapter that relays keeps the defaults; one that translates says, feature by feature, what becomes of it. The
matrix is made of these rows (docs/providers.md, `GET /admin/providers`), so that what is shown is what is coded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

Way = Literal["relayed", "translated", "coerced", "refused", "dropped", "unknown"]

# What the columns of the matrix mean:
#   relayed     goes on, and comes back, as the bytes that came
#   translated  is said in the provider's own words, without loss
#   coerced     becomes something near it, or the gateway does it itself; declared to the caller where meaning shifts
#   dropped     is left out, and declared; refused where the caller is strict
#   refused     is answered with 400, naming the field
#   unknown     nobody has looked: nothing is claimed
FEATURES: Final = (
    "tools",
    "images by URL",
    "images as bytes",
    "documents",
    "audio",
    "structured output",
    "thinking",
    "logprobs",
    "n",
)


class Does(msgspec.Struct, frozen=True):
    """What becomes of one feature, and how, in a few words."""

    way: Way
    how: str = ""


class Quirk(msgspec.Struct, frozen=True):
    """What differs from the rule, why, and where that is from (a page with a date, or recorded traffic)."""

    what: str
    source: str = ""


class Support(msgspec.Struct, frozen=True):
    """One wire's row. `relays` are the callers' dialects that it speaks itself; None: those of OpenAI's wire.

    Every other dialect that its kind serves is translated. A feature without a row is `otherwise`.
    """

    relays: frozenset[str] | None = None
    features: Mapping[str, Does] = {}
    otherwise: Does = Does("relayed")
    quirks: tuple[Quirk, ...] = ()

    def of(self, feature: str) -> Does:
        """Returns what becomes of a feature."""
        return self.features.get(feature, self.otherwise)


RELAY: Final = Support()
