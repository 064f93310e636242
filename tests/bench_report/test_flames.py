"""Folded stacks become shares: a frame's own, and that of all below it, however often it stands in a stack."""

from __future__ import annotations

from tests.bench.flames import shares


def test_a_frame_has_its_own_share_and_that_of_what_it_calls() -> None:
    own, whole = shares(["main;door;write 6", "main;door 1", "main;mover;door 3"])
    assert own == [("write", 0.6), ("door", 0.4)]
    assert dict(whole) == {"main": 1.0, "door": 1.0, "write": 0.6, "mover": 0.3}


def test_a_frame_that_calls_itself_is_counted_once() -> None:
    _, whole = shares(["main;walk;walk;walk 2", "main 2"])
    assert dict(whole) == {"main": 1.0, "walk": 0.5}
