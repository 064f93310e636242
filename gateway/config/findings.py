"""What is found wrong with a config, and the words for what is found most."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence

from gateway.config.document import Path
from gateway.config.models import Config

Problem = tuple[Path, str]


def meant(word: str, known: Iterable[str]) -> str:
    """Returns "; did you mean 'x'?" for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown(path: Path, what: str, word: str, known: Collection[str]) -> Iterator[Problem]:
    """Yields that there is no such name, and the nearest that there is."""
    if word not in known:
        yield path, f"there is no {what} {word!r}{meant(word, known)}"


def each(path: Path, what: str, words: Iterable[str] | None, known: Collection[str]) -> Iterator[Problem]:
    """Yields that of each word."""
    for index, word in enumerate(words or ()):
        yield from unknown((*path, index), what, word, known)


def level(path: Path, word: str | None, config: Config) -> Iterator[Problem]:
    """Yields that there is no such level."""
    if word is not None:
        yield from unknown(path, "level", word, config.sensitivity.levels)


def unique(path: Path, what: str, names: Sequence[str]) -> Iterator[Problem]:
    """Yields names that stand twice in a list of objects."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield (*path, index, "name"), f"the {what} {name!r} stands here twice"
        seen.add(name)


def repeated(path: Path, words: Sequence[str]) -> Iterator[Problem]:
    """Yields words that stand twice in a list."""
    seen: set[str] = set()
    for index, word in enumerate(words):
        if word in seen:
            yield (*path, index), f"{word!r} stands here twice"
        seen.add(word)
