"""Budgets: what is reserved, settled and given back; never passed with exact estimates, never refused for nothing."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accounting.accounts import Account, Crossing
from gateway.accounting.budgets import BudgetExceeded, Budgets, expected_nano
from gateway.accounting.pairings import Pairings
from gateway.accounting.rulebook import Rule, Rulebook
from gateway.accounting.trace import Trace
from gateway.core.allowances import Budget
from gateway.core.money import FREE, NANO_PER_USD, Price, Rates, Usage, charge
from gateway.core.types import Call, Deployment, Plan, Principal

DAY = 86_400.0
NOW = 100 * DAY + 1000
CENT = NANO_PER_USD // 100
_ids = count()


def budget(usd: float = 1.0, per: Any = "day", **more: Any) -> Budget:
    return Budget(int(usd * NANO_PER_USD), per, **more)


def place(name: str = "a", dollars: int = 1, provider: str = "p") -> Deployment:
    """A place where a token that comes out costs so many cents; what goes in is free."""
    price = Price("v", ((0, Rates(output_text=dollars * CENT * 1_000_000)),)) if dollars else FREE
    return Deployment(name, provider, "openai", "m", "openai", b"", (), price=price)


def plan(*places: Deployment) -> Plan:
    return Plan("chat", "in_order", frozenset(each.name for each in places), places or (place(),))


def trace(key: str = "ada", time: float = NOW, user: str | None = None, **principal: Any) -> Trace:
    call = Call(f"c{next(_ids)}", "chat", "chat", b"", user=user)
    return Trace(call, Principal(key, **principal), 0.0, Pairings(0), time)


class House:
    """Budgets whose past is nothing, and what they told."""

    def __init__(self, *rules: Rule) -> None:
        self.told: list[Crossing] = []
        self.budgets = Budgets(self.told.append)
        self.apply(*rules)

    def apply(self, *rules: Rule, spent: dict[str, int] | None = None, time: float = NOW) -> tuple[Rule, ...]:
        fresh = self.budgets.apply(Rulebook(rules))
        for rule in fresh:
            self.budgets.fill(rule, time // DAY * DAY, spent or {})
        return fresh

    def begin(self, tokens: int = 10, *places: Deployment, **caller: Any) -> Trace:
        """Reserves for a call that is expected to have so many tokens; raises BudgetExceeded."""
        begun = trace(**caller)
        begun.plan = self.budgets.reserve(begun, plan(*places), 1000, tokens, until=60.0)
        return begun

    def end(self, begun: Trace, cents: int, at: Deployment | None = None) -> None:
        self.budgets.settle(begun, cents * CENT, at or place())

    def account(self, scope: str, name: str) -> Account:
        (found,) = [each for each in self.budgets.known() if (each.scope, each.name) == (scope, name)]
        return found

    def sums(self, scope: str, name: str) -> tuple[int, int]:
        account = self.account(scope, name)
        return account.spent // CENT, account.reserved // CENT


# -- who counts to what -------------------------------------------------------------------------------------------


def test_without_budgets_nothing_is_looked_at() -> None:
    assert not House().budgets.active


def test_a_call_counts_at_every_level_at_once() -> None:
    caller = {"key": "ada", "team": "red", "tags": (("project", "crm"),), "user": "u1"}
    names = [("key", "ada"), ("team", "red"), ("user", "u1"), ("tag:project", "crm"), ("provider", "p")]
    house = House(*(Rule(scope, "*", budget(per="day")) for scope, _ in names), Rule("overall", "overall", budget()))
    begun = house.begin(10, **caller)
    levels = [*names, ("overall", "overall")]
    assert [house.sums(*level) for level in levels] == [(0, 10)] * 6
    house.end(begun, 7)
    assert [house.sums(*level) for level in levels] == [(7, 0)] * 6


def test_one_that_is_named_has_its_own_in_the_place_of_the_one_for_each() -> None:
    house = House(Rule("team", "*", budget(0.1)), Rule("team", "red", budget(5)))
    house.end(house.begin(50, team="red"), 50)
    with pytest.raises(BudgetExceeded):
        house.begin(50, team="blue")
    house.begin(10, team="blue")


def test_what_stands_on_the_key_itself_holds_beside_the_others() -> None:
    house = House(Rule("key", "*", budget(0.1)), Rule("key", "ada", budget(5), own=True))
    with pytest.raises(BudgetExceeded):
        house.begin(50)


def test_a_call_without_a_team_counts_to_no_team() -> None:
    house = House(Rule("team", "*", budget(0)))
    house.end(house.begin(50), 50)
    assert house.budgets.known() == []


# -- room -----------------------------------------------------------------------------------------------------------


def test_the_last_cent_can_be_spent_and_not_one_more() -> None:
    house = House(Rule("key", "*", budget(1)))
    house.end(house.begin(90), 90)
    last = house.begin(10)
    with pytest.raises(BudgetExceeded) as caught:
        house.begin(1)
    error = caught.value  # calls under way may cost less than they hold
    assert (error.status, error.code, error.retry_after_s, error.headers) == (429, "budget_exceeded", 1.0, ())
    assert error.message == (
        "the budget of key ada per day has no room for this call: $0.90 spent and $0.10 reserved of $1.00, and the "
        "call may cost $0.01; it begins anew at 1970-04-12T00:00:00Z"
    )
    house.end(last, 0)
    house.end(house.begin(10), 10)
    assert house.sums("key", "ada") == (100, 0)
    with pytest.raises(BudgetExceeded) as caught:
        house.begin(1)
    assert (caught.value.retry_after_s, caught.value.headers) == (DAY - 1000, ((b"x-should-retry", b"false"),))


def test_what_costs_nothing_is_served_when_all_is_spent() -> None:
    house = House(Rule("overall", "overall", budget(0)))
    served = house.begin(10, place("dear"), place("own", dollars=0))
    assert served.plan is not None
    assert [each.name for each in served.plan.candidates] == ["own"]
    assert [(each.deployment, each.rule) for each in served.plan.removed] == [("dear", "budget")]
    assert served.reservation is None


def test_places_that_are_too_dear_are_left_out_and_the_dearest_of_the_rest_is_held() -> None:
    house = House(Rule("team", "red", budget(1)))
    begun = house.begin(10, place("a", 2), place("b", 20), place("c", 3), team="red")
    assert begun.plan is not None
    assert [each.name for each in begun.plan.candidates] == ["a", "c"]
    assert house.sums("team", "red") == (0, 30)


def test_a_provider_without_room_is_left_out_and_others_are_asked() -> None:
    house = House(Rule("provider", "p", budget(1)), Rule("provider", "q", budget(1)))
    first = house.begin(100, place("a", 1, "p"), place("b", 1, "q"))
    assert (house.sums("provider", "p"), house.sums("provider", "q")) == ((0, 100), (0, 100))
    house.end(first, 100, place("a", 1, "p"))
    assert (house.sums("provider", "p"), house.sums("provider", "q")) == ((100, 0), (0, 0))
    second = house.begin(100, place("a", 1, "p"), place("b", 1, "q"))
    assert second.plan is not None
    assert [each.name for each in second.plan.candidates] == ["b"]
    with pytest.raises(BudgetExceeded, match="provider p per day"):
        house.begin(1, place("a", 1, "p"), place("b", 1, "q"))


def test_a_budget_that_rejects_nothing_lets_everything_through() -> None:
    house = House(Rule("key", "*", budget(0.01, reject_at=None, notify_at=(100,))))
    house.end(house.begin(500), 500)
    assert [each.percent for each in house.told] == [100]


def test_rejecting_can_begin_beyond_or_before_the_whole() -> None:
    house = House(Rule("key", "ada", budget(1, reject_at=150)), Rule("key", "bob", budget(1, reject_at=50)))
    house.begin(150, key="ada")
    with pytest.raises(BudgetExceeded):
        house.begin(51, key="bob")


def test_media_are_not_taken_for_text() -> None:
    house = House(Rule("key", "*", budget(1)))
    begun = trace()
    begun.call = Call("media", "chat", "chat", b"", has_media=True)
    price = Price("v", ((0, Rates(fresh_input=1_000_000)),))  # a nano-dollar a token
    where = Deployment("a", "p", "openai", "m", "openai", b"", (), price=price)
    house.budgets.reserve(begun, plan(where), 5_000_000, 0, until=1.0)
    assert house.account("key", "ada").reserved == 16_384


# -- time -----------------------------------------------------------------------------------------------------------


def test_a_new_period_begins_with_nothing_spent() -> None:
    house = House(Rule("key", "*", budget(1)))
    house.end(house.begin(100), 100)
    with pytest.raises(BudgetExceeded):
        house.begin(1)
    house.begin(100, time=NOW + DAY)
    assert house.sums("key", "ada") == (0, 100)


def test_a_call_counts_to_the_period_that_it_arrived_in() -> None:
    house = House(Rule("key", "*", budget(1)))
    late = house.begin(40)
    house.begin(60, time=NOW + DAY)
    house.end(late, 40)
    assert house.sums("key", "ada") == (0, 60)


def test_a_forgotten_reservation_is_swept_when_its_lease_is_over() -> None:
    house = House(Rule("key", "*", budget(1)))
    forgotten = house.begin(100)
    house.budgets.sweep(119.0, NOW)
    assert house.sums("key", "ada") == (0, 100)
    house.budgets.sweep(120.0, NOW)
    assert (house.sums("key", "ada"), house.budgets.swept, house.budgets.held) == ((0, 0), 1, 0)
    house.end(forgotten, 30)  # it was only slow
    assert house.sums("key", "ada") == (30, 0)


def test_accounts_go_with_their_period() -> None:
    house = House(Rule("user", "*", budget(1)))
    for number in range(10):
        house.end(house.begin(1, user=f"u{number}"), 1)
    held = house.begin(1, user="u0")
    house.budgets.sweep(0.0, NOW + DAY)
    assert [each.name for each in house.budgets.known()] == ["u0"]
    house.end(held, 1)
    house.end(house.begin(5, user="u1", time=NOW + DAY), 5)
    assert house.sums("user", "u1") == (5, 0)


# -- configs --------------------------------------------------------------------------------------------------------


def test_sums_stay_where_amounts_change() -> None:
    house = House(Rule("key", "*", budget(1)))
    house.end(house.begin(100), 100)
    assert house.apply(Rule("key", "*", budget(2))) == ()
    assert house.sums("key", "ada") == (100, 0)
    house.begin(100)
    with pytest.raises(BudgetExceeded):
        house.begin(1)


def test_a_budget_that_comes_later_is_given_its_past_and_what_was_spent_meanwhile() -> None:
    house = House(Rule("overall", "overall", budget(100)))
    before = house.begin(30)
    rules = [Rule("overall", "overall", budget(100)), Rule("key", "*", budget(1))]
    assert house.budgets.apply(Rulebook(rules)) == (rules[1],)
    house.end(before, 30)
    house.begin(500)  # it bounds nothing yet
    house.budgets.fill(rules[1], NOW // DAY * DAY, {"ada": 50 * CENT, "eve": 100 * CENT})
    assert house.sums("key", "ada")[0] == 80
    assert house.sums("overall", "overall")[0] == 30
    with pytest.raises(BudgetExceeded):
        house.begin(1, key="eve")


def test_a_past_that_is_read_twice_counts_once() -> None:
    house = House()
    rule = Rule("key", "*", budget(1))
    house.budgets.apply(Rulebook([rule]))
    house.end(house.begin(20), 20)
    assert house.budgets.apply(Rulebook([rule])) == (rule,)  # the books could not be read
    house.budgets.fill(rule, NOW // DAY * DAY, {"ada": 70 * CENT})  # the 20 are in them by now
    assert house.sums("key", "ada") == (70, 0)


def test_a_past_of_a_period_that_is_over_is_not_added() -> None:
    house = House()
    rule = Rule("key", "*", budget(1))
    house.budgets.apply(Rulebook([rule]))
    house.end(house.begin(20, time=NOW + DAY), 20)
    house.budgets.fill(rule, NOW // DAY * DAY, {"ada": 70 * CENT})
    assert house.sums("key", "ada") == (20, 0)


def test_who_is_no_longer_named_has_the_past_of_the_budget_for_each() -> None:
    each, red = Rule("team", "*", budget(1)), Rule("team", "red", budget(1, zone="Europe/Berlin"))
    house = House(each, red)
    house.end(house.begin(60, team="red"), 60)
    assert house.budgets.apply(Rulebook([each])) == (each,)
    house.budgets.fill(each, NOW // DAY * DAY, {"red": 60 * CENT})
    with pytest.raises(BudgetExceeded):
        house.begin(50, team="red")


def test_a_call_in_flight_outlives_its_budget() -> None:
    house = House(Rule("key", "*", budget(1)))
    begun = house.begin(100)
    house.apply()
    house.end(begun, 100)
    assert (house.budgets.held, house.budgets.active) == (0, False)


# -- notices --------------------------------------------------------------------------------------------------------


def test_each_share_is_told_once_a_period() -> None:
    house = House(Rule("team", "*", budget(1, notify_at=(50, 80, 100))))
    for cents in (49, 1, 29, 21):
        house.end(house.begin(cents, team="red"), cents)
    assert [(each.percent, each.spent_nano // CENT) for each in house.told] == [(50, 50), (80, 100), (100, 100)]
    house.end(house.begin(60, team="red", time=NOW + DAY), 60)
    assert house.told[3].percent == 50
    assert len({each.id for each in house.told}) == 4


def test_a_past_that_has_reached_a_share_tells_it_as_the_same_notice() -> None:
    rule = Rule("team", "red", budget(1, notify_at=(80,)))
    house = House(rule)
    house.end(house.begin(90, team="red"), 90)
    again = House()
    again.apply(rule, spent={"red": 90 * CENT})
    assert [each.id for each in again.told] == [each.id for each in house.told]


# -- laws -----------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "answer", "fail", "cut"]),
        st.sampled_from(["ada", "bob"]),
        st.integers(1, 60),
        st.integers(0, 1000),
    ),
    max_size=120,
)


@given(STEPS)
def test_with_exact_estimates_no_budget_is_ever_passed_and_none_refuses_what_fits(steps: list[Any]) -> None:
    house = House(Rule("key", "*", budget(1)), Rule("team", "red", budget(1.5)))
    limits = {("key", "ada"): 100, ("key", "bob"): 100, ("team", "red"): 150}
    under_way: list[tuple[Trace, int]] = []
    spent = dict.fromkeys(limits, 0)
    held = dict.fromkeys(limits, 0)
    for what, key, cents, pick in steps:
        if what == "begin":
            mine = [("key", key), ("team", "red")]
            fits = all(spent[level] + held[level] + cents <= limits[level] for level in mine)
            try:
                under_way.append((house.begin(cents, key=key, team="red"), cents))
            except BudgetExceeded:
                assert not fits
            else:
                assert fits
                for level in mine:
                    held[level] += cents
        elif under_way:
            begun, expected = under_way.pop(pick % len(under_way))
            cost = {"answer": expected, "fail": 0, "cut": expected // 2}[what]
            house.end(begun, cost)
            for level in (("key", begun.principal.key), ("team", "red")):
                held[level] -= expected
                spent[level] += cost
        for account in house.budgets.known():
            level = (account.scope, account.name)
            assert (account.spent // CENT, account.reserved // CENT) == (spent[level], held[level])
            assert account.spent <= limits[level] * CENT
    for begun, _ in under_way:
        house.end(begun, 0)
    assert all(account.reserved == 0 for account in house.budgets.known())
    assert (house.budgets.held, house.budgets.underestimated_nano) == (0, 0)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 90)), max_size=60))
def test_a_budget_is_passed_by_no_more_than_calls_were_underestimated(calls: list[tuple[int, int]]) -> None:
    house = House(Rule("key", "*", budget(1)))
    for start in range(0, len(calls), 7):
        begun = []
        for expected, true in calls[start : start + 7]:
            try:
                begun.append((house.begin(expected), true))
            except BudgetExceeded:
                continue
        for each, true in begun:
            house.end(each, true)
    for account in house.budgets.known():
        assert account.over <= house.budgets.underestimated_nano


@given(st.integers(0, 10**7), st.integers(0, 10**6), st.integers(0, 10**12), st.integers(0, 10**12))
def test_what_is_foreseen_exactly_is_charged_to_the_nano_dollar(given_in: int, out: int, fresh: int, text: int) -> None:
    price = Price("v", ((0, Rates(fresh_input=fresh, output_text=text)),), per_request_nano=7)
    assert expected_nano(price, given_in, out) == charge(Usage(fresh_input=given_in, output_text=out), price).nano_usd
