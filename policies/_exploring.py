"""How a deployment without enough measurements gets the calls it takes to be measured."""

from __future__ import annotations

EXPLORED_SHARE = 0.1  # of calls, while any candidate is unproven: 30 samples after some 300 calls
MIN_SAMPLES = 30


def explored(draw: float, unproven: int) -> int | None:
    """Returns which of the unproven candidates (an index) gets this call, or None for most calls.

    It looks at later digits of the draw, so that what a pick reads from its first digits stays evenly spread.
    """
    digit = draw * 997.0 % 1.0
    if digit >= EXPLORED_SHARE:
        return None
    return int(digit / EXPLORED_SHARE * unproven)
