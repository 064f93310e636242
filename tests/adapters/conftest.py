"""Reads the corpus of real provider traffic, where it lies beside the repository; tests skip visibly where not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "dev"

Line = dict[str, Any]


@pytest.fixture(scope="session")
def corpus_lines() -> Callable[[str], list[Line]]:
    """Returns a reader: the lines of every corpus file that a glob names ("openai.chat*.jsonl"), in file order."""
    if not CORPUS.is_dir():
        pytest.skip("the corpus is not at ../shared/corpus/dev")

    def read(pattern: str) -> list[Line]:
        return list(_lines(pattern))

    return read


def _lines(pattern: str) -> Iterator[Line]:
    for path in sorted(CORPUS.glob(pattern)):
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
