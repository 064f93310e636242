"""What is remembered of replicas' caches: which leading blocks, in which order they go, within bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.pool.router.index import LEAST_BLOCKS, PrefixIndex


def an_index(replicas: int = 3, capacity: int = 100) -> PrefixIndex:
    index = PrefixIndex()
    for bit in range(replicas):
        index.add(bit, capacity)
    return index


def test_a_prompt_is_known_as_far_as_it_is_the_same() -> None:
    index = an_index()
    index.touch(0, [1, 2, 3, 4])
    index.touch(1, [1, 2, 8, 9])
    assert index.leading([1, 2, 3, 7]) == {0: 3, 1: 2}
    assert index.leading([1, 2, 3, 4]) == {0: 4, 1: 2}
    assert index.leading([5, 2, 3, 4]) == {}
    assert index.leading([]) == {}


def test_the_least_recently_used_go_first_and_of_a_prompt_its_tail() -> None:
    index = an_index(1, LEAST_BLOCKS)
    old, new = list(range(1, 11)), list(range(101, 111))
    index.touch(0, old)
    index.touch(0, new)
    assert index.leading(new) == {0: 10}
    assert index.leading(old) == {0: 6}


def test_what_is_used_again_stays() -> None:
    index = an_index(1, LEAST_BLOCKS)
    index.touch(0, [1, 2, 3])
    index.touch(0, range(100, 110))
    index.touch(0, [1, 2, 3])
    index.touch(0, range(200, 210))
    assert index.leading([1, 2, 3]) == {0: 3}


def test_what_answers_wrote_takes_room_as_well() -> None:
    index = an_index(1, LEAST_BLOCKS)
    index.touch(0, [1, 2, 3])
    index.touch(0, [], beside=LEAST_BLOCKS)
    assert index.leading([1, 2, 3]) == {}
    assert len(index) == LEAST_BLOCKS


def test_blocks_that_a_replica_turned_out_not_to_have_are_struck_off_for_it_alone() -> None:
    index = an_index()
    index.touch(0, [1, 2, 3])
    index.touch(1, [1, 2, 3])
    index.forget(0, [2, 3])
    assert index.leading([1, 2, 3]) == {0: 1, 1: 3}


def test_a_replica_that_was_started_anew_has_nothing_and_one_that_left_is_forgotten() -> None:
    index = an_index()
    index.touch(0, [1, 2])
    index.touch(1, [1, 2])
    index.discard(0)
    assert index.leading([1, 2]) == {1: 2}
    index.drop(1)
    assert index.leading([1, 2]) == {}
    assert len(index) == 0


Step = tuple[int, int, int]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(0, 30)), max_size=80))
def test_it_is_bounded_and_both_of_its_sides_agree(steps: list[Step]) -> None:
    index = an_index(4, 20)
    for bit, first, length in steps:
        match length % 3:
            case 0:
                index.touch(bit, range(first, first + length), beside=length // 7)
            case 1:
                index.forget(bit, range(first, first + length))
            case _:
                index.resize(bit, 16 + first)
        assert all(index.fill(each) <= 36 for each in range(4))
        known = {(each, block) for each in range(4) for block in range(60) if index.leading([block]).get(each)}
        held = {(each, block) for each, used in index._used.items() for block in used if block >= 0}
        assert known == held
