"""The router by prefix: values in, values out, the time passed in."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pool.router import Gauges, PrefixRouter, Prompt, Ticket
from gateway.pool.router.prompts import BLOCK_BYTES, chained

KEYS = [f"http://10.0.0.{number}:8000" for number in range(1, 5)]


def prompt(name: str, blocks: int = 20, *, asks: str = "", session: int = 0, stream: bool = True) -> Prompt:
    text = (name * (blocks * BLOCK_BYTES))[: blocks * BLOCK_BYTES].encode() + asks.encode()
    return Prompt(len(text), chained(text, b""), f"mark of {name}".encode(), session, stream)


def place(router: PrefixRouter, asked: Prompt, now: float = 0.0, among: list[str] | None = None) -> Ticket:
    """Has a call placed as the gateway does."""
    ticket = router.reserve(router.order(asked, among or KEYS, now)[0], asked, now)
    assert ticket is not None
    return ticket


def answer(router: PrefixRouter, ticket: Ticket, cached_tokens: int | None = None, at: float = 1.0) -> None:
    """Answers a call: all of its prompt that was expected cached was, unless it is said otherwise."""
    router.first_token(ticket, at)
    tokens = ticket.prompt.size_bytes // 4
    router.finished(ticket, at + 1, tokens, int(ticket.hit) if cached_tokens is None else cached_tokens, 10)


def warmed(*names: str) -> tuple[PrefixRouter, dict[str, str]]:
    """Returns a router that has placed one call of each name, and where they went."""
    router = PrefixRouter(KEYS)
    homes = {}
    for name in names:
        ticket = place(router, prompt(name))
        homes[name] = ticket.replica.key
        answer(router, ticket)
    return router, homes


def test_a_prompt_goes_where_its_beginning_is() -> None:
    router, homes = warmed(*"abcdefgh")
    for name, home in homes.items():
        assert router.order(prompt(name, asks="something new"), KEYS, 5.0)[0] == home


def test_all_that_may_be_asked_are_in_the_order_once() -> None:
    router, _ = warmed("a")
    assert sorted(router.order(prompt("a"), KEYS, 5.0)) == sorted(KEYS)
    assert sorted(router.order(prompt("a"), KEYS[1:3], 5.0)) == KEYS[1:3]
    assert router.order(prompt("a"), KEYS[:1], 5.0) == KEYS[:1]
    assert router.order(prompt("a"), ["http://unknown"], 5.0) == ["http://unknown"]


def test_calls_that_come_at_once_see_one_another() -> None:
    router = PrefixRouter(KEYS)
    tickets = [place(router, prompt(f"{number} unlike any other ")) for number in range(40)]
    assert max(Counter(ticket.replica.key for ticket in tickets).values()) <= 16


def test_short_calls_go_to_the_least_busy() -> None:
    router = PrefixRouter(KEYS)
    tickets = [place(router, prompt("hi", 0, asks="hi")) for _ in range(40)]
    assert set(Counter(ticket.replica.key for ticket in tickets).values()) == {10}


def test_a_prefix_stays_at_its_replica_while_others_are_idle() -> None:
    router, homes = warmed("a")
    tickets = [place(router, prompt("a", asks=f"question {number}"), 5.0) for number in range(4)]
    assert {ticket.replica.key for ticket in tickets} == {homes["a"]}


def test_a_prefix_that_everybody_asks_for_is_spread_by_the_bound() -> None:
    router, _ = warmed("a")
    tickets = [place(router, prompt("a", asks=f"question {number}"), 5.0) for number in range(60)]
    counts = Counter(ticket.replica.key for ticket in tickets)
    assert len(counts) > 1
    assert max(counts.values()) <= 2 * (60 + 1) / len(KEYS) + 1


def test_gateways_that_do_not_talk_agree_on_homes() -> None:
    one, other = PrefixRouter(KEYS), PrefixRouter(reversed(KEYS))
    names = [f"tenant {number} " for number in range(40)]
    homes = []
    for router in (one, other):
        for name in names:
            ticket = place(router, prompt(name))
            homes.append(ticket.replica.key)
            answer(router, ticket)
    assert homes[:40] == homes[40:]
    assert len(set(homes)) == 4


def test_a_prompt_to_be_read_by_many_others_first_goes_elsewhere() -> None:
    router = PrefixRouter(KEYS[:2])
    first = place(router, prompt("a", 100), among=KEYS[:2])
    second = place(router, prompt("b", 100), among=KEYS[:2])
    assert first.replica is not second.replica


def test_a_first_token_ends_the_wait_behind_a_prompt() -> None:
    router = PrefixRouter(KEYS)
    ticket = place(router, prompt("a"))
    assert ticket.replica.pending(0.1) > 1000
    router.first_token(ticket, 0.5)
    router.first_token(ticket, 0.6)
    assert ticket.replica.pending(0.7) == 0
    assert ticket.replica.in_flight == 1


def test_an_answer_in_one_piece_is_taken_for_read_in_time() -> None:
    router = PrefixRouter(KEYS)
    ticket = place(router, prompt("a", stream=False))
    assert ticket.replica.pending(0.0) > 1000
    assert ticket.replica.pending(100.0) == 0
    answer(router, ticket)
    assert ticket.replica.in_flight == 0


def test_trust_in_predictions_falls_with_those_that_fail_and_comes_back() -> None:
    router, homes = warmed("a")
    replica = router.replicas[homes["a"]]
    for number in range(30):
        answer(router, place(router, prompt("a"), 5.0 + number, [homes["a"]]), cached_tokens=0)
    assert replica.confidence < 0.1
    assert replica.stretch < 0.5  # it keeps less than was believed
    for number in range(60):
        answer(router, place(router, prompt("a"), 50.0 + number, [homes["a"]]), cached_tokens=20 * BLOCK_BYTES // 4)
    assert replica.confidence > 0.9


def test_a_server_that_does_not_tell_of_cached_tokens_teaches_nothing_of_them() -> None:
    router, homes = warmed("a")
    for _ in range(30):
        ticket = place(router, prompt("a"), 5.0)
        router.first_token(ticket, 5.1)
        router.finished(ticket, 6.0, 5120, None, 10)
    assert router.replicas[homes["a"]].confidence == 1.0
    assert router.order(prompt("a"), KEYS, 9.0)[0] == homes["a"]


def test_a_call_that_failed_before_its_first_token_left_nothing_in_the_cache() -> None:
    router = PrefixRouter(KEYS)
    ticket = place(router, prompt("a"))
    router.failed(ticket, 1.0)
    assert router.index.leading(prompt("a").blocks) == {}
    assert (ticket.replica.in_flight, ticket.replica.pending_tokens) == (0, 0.0)


def test_a_call_that_was_cut_after_it_had_left_its_prompt_in_the_cache() -> None:
    router = PrefixRouter(KEYS)
    ticket = place(router, prompt("a"))
    router.first_token(ticket, 0.5)
    router.failed(ticket, 1.0)
    assert router.index.leading(prompt("a").blocks) == {ticket.replica.bit: 20}


def test_a_replica_that_was_started_anew_has_an_empty_cache() -> None:
    router, homes = warmed("a")
    router.tell(homes["a"], Gauges(1.0, born_at=100.0))
    assert router.index.leading(prompt("a").blocks)
    router.tell(homes["a"], Gauges(2.0, born_at=200.0))
    assert not router.index.leading(prompt("a").blocks)


def test_calls_of_others_count_as_far_as_a_replica_tells_of_them_lately() -> None:
    router = PrefixRouter(KEYS)
    router.tell(KEYS[0], Gauges(0.0, running=30, waiting=10))
    assert router.replicas[KEYS[0]].crowd(1.0) == 40
    assert router.order(prompt("a"), KEYS, 1.0)[-1] == KEYS[0]
    assert router.replicas[KEYS[0]].crowd(6.0) == 0


def test_our_own_calls_are_not_counted_twice() -> None:
    router = PrefixRouter(KEYS)
    tickets = [place(router, prompt("a"), 0.0, KEYS[:1]) for _ in range(3)]
    router.tell(KEYS[0], Gauges(0.5, running=3))
    assert router.replicas[KEYS[0]].crowd(1.0) == 3
    for ticket in tickets:
        answer(router, ticket)
    assert router.replicas[KEYS[0]].crowd(1.5) == 0


def test_the_size_of_a_cache_is_what_the_replica_says() -> None:
    router, homes = warmed("a", "b", "c", "d", "e", "f", "g", "h")
    router.tell(homes["a"], Gauges(0.0, kv_tokens=16 * 256))
    assert router.index.fill(router.replicas[homes["a"]].bit) <= 16


def test_a_conversation_stays_where_it_was_while_all_else_is_equal() -> None:
    router = PrefixRouter(KEYS)
    asked = prompt("hi", 0, asks="hi", session=7)
    first = place(router, asked)
    answer(router, first)
    for number in range(8):
        again = place(router, asked, 5.0 + number)
        answer(router, again, at=5.0 + number)
        assert again.replica is first.replica


def test_replicas_come_and_go_and_those_that_stay_keep_what_is_known_of_them() -> None:
    router, homes = warmed("a", "b", "c", "d")
    ticket = place(router, prompt("a"), 5.0)
    left = [key for key in KEYS if key != homes["a"]]
    router.watch([*left, "http://new"])
    answer(router, ticket)
    assert router.reserve(homes["a"], prompt("a"), 6.0) is None
    assert set(router.order(prompt("a"), [*left, "http://new"], 6.0)) == {*left, "http://new"}
    for name in "bcd":
        if homes[name] in left:
            assert router.order(prompt(name), [*left, "http://new"], 6.0)[0] == homes[name]


@pytest.mark.parametrize("rate", [2_000.0, 40_000.0])
def test_the_rate_of_reading_is_learned_from_prompts_that_were_read_alone(rate: float) -> None:
    router = PrefixRouter(KEYS[:1])
    now = 0.0
    for number in range(60):
        asked = prompt(f"{number} unlike any other ")
        ticket = router.reserve(KEYS[0], asked, now)
        assert ticket is not None
        now += asked.size_bytes / 4 / rate
        answer(router, ticket, cached_tokens=0, at=now)
        now += 2
    assert router.replicas[KEYS[0]].prefill_rate == pytest.approx(rate, rel=0.2)


def test_bytes_per_token_are_learned() -> None:
    router = PrefixRouter(KEYS)
    for number in range(60):
        ticket = place(router, prompt(f"{number} "), float(number))
        router.finished(ticket, number + 0.5, ticket.prompt.size_bytes // 2, 0, 1)
    assert router.bytes_per_token == pytest.approx(2.0, rel=0.05)


Step = tuple[str, int]
STEPS = st.lists(st.tuples(st.sampled_from(["place", "first", "finish", "fail", "watch", "tell"]), st.integers(0, 11)))


@given(STEPS)
def test_whatever_happens_the_counts_come_back_to_nought(steps: list[Step]) -> None:
    router = PrefixRouter(KEYS)
    tickets: list[Ticket] = []
    replicas = set(router.replicas.values())
    keys = KEYS
    now = 0.0
    for what, number in steps:
        now += 0.1
        if what == "place":
            tickets.append(place(router, prompt("abc"[number % 3], number, stream=number % 2 > 0), now, keys))
        elif what == "watch":
            keys = [key for at, key in enumerate(KEYS) if at != number]
            router.watch(keys)
            replicas |= set(router.replicas.values())
        elif what == "tell":
            router.tell(KEYS[number % 4], Gauges(now, number, number, number / 11, number * 1000, number // 4))
        elif tickets:
            ticket = tickets[number % len(tickets)]
            if what == "first":
                router.first_token(ticket, now)
            elif what == "finish":
                router.finished(ticket, now, number * 100, number * 10, number)
            else:
                router.failed(ticket, now)
    for ticket in tickets:
        router.finished(ticket, now, 10, 0, 1)
    assert {replica.in_flight for replica in replicas} == {0}
    assert {replica.pending(now) for replica in replicas} == {0.0}
