"""Tool call ids of exactly nine letters or digits, for providers that refuse all others.

The ids that such a provider gives need no way back: they are fine everywhere else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

_SHORT: Final = re.compile(r"[a-zA-Z0-9]{9}")
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Returns a short id for each: its own where it is one, else one made from it, the same in every request."""
    wanted = list(dict.fromkeys(ids))
    short = {one: one for one in wanted if _SHORT.fullmatch(one)}
    taken = set(short)
    for one in wanted:
        if one not in short:
            salt = 0
            while (made := _made(one, salt)) in taken:
                salt += 1
            short[one] = made
            taken.add(made)
    return short


def _made(one: str, salt: int) -> str:
    number = int.from_bytes(hashlib.sha256(f"{salt}:{one}".encode("utf-8", "surrogatepass")).digest()[:8], "big")
    made = []
    for _ in range(9):
        number, digit = divmod(number, 62)
        made.append(_DIGITS[digit])
    return "".join(made)
