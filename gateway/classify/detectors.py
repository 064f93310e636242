"""Finds personal data, secrets and an owner's terms in a body, without ever keeping what it found.

Two stages. One automaton (an RE2 set) runs over the bytes once and says which kinds could be there; only for those
the exact pattern and its validator run, until one candidate holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import msgspec
import re2
from stdnum.exceptions import ValidationError

from gateway.classify.patterns import KINDS, Kind
from gateway.classify.text import FOREIGN, MARKED, decoded, normal, unmarked

# Work that one kind may do on candidates that do not hold, before it counts as late: a candidate costs 1.5 us plus
# its validator (`Kind.cost`; a phone number 20 us), so this is some 5 ms at worst.
_ALLOWANCE: Final = 2000
_SET_MEMORY_BYTES: Final = 64 * 1024 * 1024

# What validators of other libraries may raise on text that nobody foresaw.
_FAILURES: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    ValidationError,
    re2.error,
)


class Finding(msgspec.Struct, frozen=True):
    """Where something was found: byte offsets within the text that was searched."""

    detector: str
    kind: str
    start: int
    end: int


class Detectors:
    """A compiled set of kinds and term lists; one per snapshot, shared where configs agree (`compiled`)."""

    def __init__(self, detectors: tuple[str, ...], terms: tuple[tuple[str, ...], ...]) -> None:
        self._kinds = tuple(kind for kind in KINDS if kind.detector in detectors)
        self._gates = re2.Set.SearchSet(_options())
        for kind in self._kinds:
            self._gates.Add(kind.gate)
        for words in terms:
            self._gates.Add(_whole_words(words))
        self._marked = self._gates.Add(MARKED)
        self._foreign = self._gates.Add(FOREIGN)
        self._gates.Compile()
        self._patterns = tuple(re2.compile(kind.pattern.encode(), _options()) for kind in self._kinds)
        self._starts = tuple(
            re2.compile(kind.gate.encode(), _options()) if kind.anchored else None for kind in self._kinds
        )

    def search(self, body: bytes) -> tuple[bytes, tuple[int, ...]]:
        """Returns the readable text and which gates it hit: kinds first, by their place in `KINDS`, then terms."""
        text = decoded(body)
        hits = self._gates.Match(text)
        if hits is None:
            return text, ()
        marked, foreign = self._marked in hits, self._foreign in hits
        if marked or foreign:
            text = unmarked(text) if marked else text
            text = normal(text) if foreign else text
            hits = self._gates.Match(text) or ()
        return text, tuple(hits)

    def first(self, text: bytes, hits: tuple[int, ...], detector: str) -> str | None:
        """Returns the first kind of a detector that holds in the text: `us_ssn`, or `us_ssn, unchecked`.

        Unchecked is what could not be checked, because a validator failed or there was more to do than the allowance.
        """
        for number, kind in enumerate(self._kinds):
            if kind.detector == detector and number in hits and (found := self._first(text, number, kind)):
                return found
        return None

    def terms(self, hits: tuple[int, ...]) -> Iterator[int]:
        """Yields which lists of terms occur, by their place."""
        first = len(self._kinds)
        return (hit - first for hit in hits if first <= hit < self._marked)

    def findings(self, text: bytes, hits: tuple[int, ...]) -> Iterator[Finding]:
        """Yields every place that holds, for measuring; without an allowance."""
        for number, kind in enumerate(self._kinds):
            if number in hits:
                for match in self._candidates(text, number):
                    start, end = match.span(match.lastindex or 0)
                    if kind.valid(text[start:end]):
                        start, end = match.span() if kind.whole else (start, end)
                        yield Finding(kind.detector, kind.name, start, end)

    def _first(self, text: bytes, number: int, kind: Kind) -> str | None:
        left = _ALLOWANCE
        try:
            for match in self._candidates(text, number):
                if kind.valid(match[match.lastindex or 0]):
                    return kind.name
                left -= kind.cost
                if left < 0:
                    return f"{kind.name}, unchecked"
        except _FAILURES:
            return f"{kind.name}, unchecked"
        return None

    def _candidates(self, text: bytes, number: int) -> Iterator[re2._Match]:
        """Yields where a kind's pattern matches."""
        pattern, starts = self._patterns[number], self._starts[number]
        if starts is None:
            yield from pattern.finditer(text)
            return
        for place in starts.finditer(text):
            match = pattern.match(text, place.start())
            if match is not None:
                yield match


@lru_cache(maxsize=16)
def compiled(detectors: tuple[str, ...], terms: tuple[tuple[str, ...], ...]) -> Detectors:
    """Returns the detectors for these names and terms; compiling costs 12 ms, so equal ones are shared."""
    return Detectors(detectors, terms)


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem = _SET_MEMORY_BYTES
    options.log_errors = False
    return options


def _whole_words(words: tuple[str, ...]) -> str:
    """Writes terms as one pattern: any case, whole words in any script, any white space between them."""
    spelled = (r"\s+".join(re2.escape(part) for part in word.split()) for word in words if word.split())
    boundary = r"[^\pL\pN\pM_]"
    return rf"(?i)(?:^|{boundary})(?:{'|'.join(spelled)})(?:$|{boundary})"
