"""A few seconds of what `make fuzz` does at length: every decoder and reader of requests under mutated traffic."""

from __future__ import annotations

import random
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import UpstreamError
from tests.fuzz.laws import Requests, Subject, requests, subjects

pytestmark = pytest.mark.corpus


def each() -> list[Any]:
    found = [pytest.param(subject, id=str(subject)) for subject in (*subjects(), *requests())]
    return found or [pytest.param(None, marks=pytest.mark.skip(reason="no ../shared/corpus here"))]


@pytest.mark.parametrize("subject", each())
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_mutated_traffic_raises_no_error_but_ours_and_ends_no_cut_stream(
    subject: Subject | Requests, seed: int
) -> None:
    dice = random.Random(seed)
    for _ in range(3):
        subject.attempt(dice)


@pytest.mark.parametrize(
    "subject", [pytest.param(subject, id=str(subject)) for subject in subjects() if subject.streamed]
)
def test_a_stream_that_says_nothing_forever_is_not_kept(subject: Subject) -> None:
    """Comments, pings and blank lines for a megabyte leave nothing behind in a decoder, and make no answer."""
    if subject.answers[0].form == "eventstream":
        pytest.skip("its frames say their sizes: the transport's bounds hold")
    decoder = subject.place.decoder(True)
    out = b""
    for _ in range(1_000):
        out += b"".join(decoder.feed(b": keep-alive\n\n" * 70))
    assert len(out) < 2_000_000
    assert not decoder.started
    assert decoder.progress == 0
    assert _size(decoder) < 100_000


@pytest.mark.parametrize(
    "subject", [pytest.param(subject, id=str(subject)) for subject in subjects() if subject.streamed]
)
def test_an_event_without_an_end_is_refused_before_it_fills_the_memory(subject: Subject) -> None:
    decoder = subject.place.decoder(True)
    begun = subject.answers[0].raw[:200] if subject.answers[0].form == "array" else b'data: {"x":"'
    pieces = (begun, *[b"x" * 2**20] * 40)
    with pytest.raises(UpstreamError):
        list(chain.from_iterable(map(decoder.feed, pieces)))
    assert _size(decoder) < 40 * 2**20


def _size(decoder: Any) -> int:
    """Returns the bytes of the texts and buffers that a decoder holds, wherever they are."""
    seen: set[int] = set()
    stack, size = [decoder], 0
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, bytes | bytearray | str):
            size += len(value)
        elif isinstance(value, dict):
            stack += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            stack += value
        else:
            names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
            stack += [getattr(value, name) for name in names if hasattr(value, name)]
            stack += list(getattr(value, "__dict__", {}).values())
    return size
