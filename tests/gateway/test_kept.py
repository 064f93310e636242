"""Whose a kept answer is: known at once here, soon in the store, to its tenant alone, and never less sensitive."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import pytest

from adapters.dialects._responses_kept import ResponsesWire
from gateway import kept
from gateway.core.errors import BadRequest, Overloaded
from gateway.core.types import Call, Deployment, Plan, Principal, Reference, Removal, Sensitivity
from gateway.kept import KeptAnswers, Standing, UnknownAnswer
from gateway.kept_content import KeptContent, Resumed
from gateway.state.protocols import KeptRow, RowRefused, StoreUnavailable
from tests.patience import until

LEVELS = ("public", "internal", "restricted")
ANN, BEN, CID, DAN = (
    Principal("ann", team="red"),
    Principal("ben", team="red"),
    Principal("red", team=None),
    Principal("dan", team="blue"),
)


class Shelf:
    """A store of kept ids in memory; `away` makes it unreachable, `gate` holds up whoever writes."""

    def __init__(self) -> None:
        self.rows: dict[str, KeptRow] = {}
        self.away = False
        self.refuses = ""
        self.gate = threading.Event()
        self.gate.set()
        self.asked = 0
        self.writes = 0

    def add_kept(self, rows: Iterable[KeptRow]) -> None:
        self.gate.wait(30)
        self._reach()
        rows = list(rows)
        if any(row.id == self.refuses for row in rows):
            raise RowRefused("not this one")
        self.writes += 1
        for row in rows:
            if row.id not in self.rows or self.rows[row.id].tenant == row.tenant:
                self.rows[row.id] = row

    def kept(self, id: str) -> KeptRow | None:
        self.asked += 1
        self._reach()
        return self.rows.get(id)

    def forget_kept(self, id: str) -> None:
        self._reach()
        self.rows.pop(id, None)

    def expire_kept(self, before: float) -> int:
        self._reach()
        gone = [row.id for row in self.rows.values() if row.time < before]
        for each in gone:
            del self.rows[each]
        return len(gone)

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailable("away")


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def answers(shelf: Shelf) -> Iterator[KeptAnswers]:
    one = KeptAnswers(shelf, KeptContent(ResponsesWire()))
    one.start()
    yield one
    shelf.gate.set()
    one.stop()


def a_call(*references: Reference) -> Call:
    return Call("req_1", "chat", "responses", b"{}", references=references)


def previous(name: str) -> Reference:
    return Reference(name, "previous_response_id")


def conversation(name: str) -> Reference:
    return Reference(name, "conversation", required=False)


async def test_an_id_is_known_here_before_it_is_written(shelf: Shelf, answers: KeptAnswers) -> None:
    shelf.gate.clear()
    answers.note(["resp_1", "msg_1"], ANN, "gpt", 2, LEVELS)
    row = await answers.find("resp_1", ANN)
    assert row is not None
    assert row[:4] == ("resp_1", "team:red", "gpt", "restricted")
    assert (shelf.asked, shelf.rows) == (0, {})
    shelf.gate.set()
    await until(lambda: set(shelf.rows) == {"resp_1", "msg_1"})


async def test_another_process_knows_it_from_the_store(shelf: Shelf, answers: KeptAnswers) -> None:
    answers.note(["resp_1"], ANN, "gpt", 1, LEVELS)
    await until(lambda: shelf.rows)
    other = KeptAnswers(shelf, KeptContent(ResponsesWire()))
    for _ in range(3):
        assert await other.find("resp_1", BEN) is not None
    assert shelf.asked == 1  # once asked, it is known


async def test_a_team_shares_what_is_kept_and_a_key_of_none_is_a_tenant_of_its_own(answers: KeptAnswers) -> None:
    answers.note(["resp_1"], ANN, "gpt", 1, LEVELS)
    answers.note(["resp_2"], CID, "gpt", 1, LEVELS)
    assert [await answers.find("resp_1", who) is not None for who in (ANN, BEN, CID, DAN)] == [True, True, False, False]
    assert [await answers.find("resp_2", who) is not None for who in (ANN, BEN, CID, DAN)] == [
        False,
        False,
        True,
        False,
    ]


async def test_an_id_that_two_providers_make_stays_with_its_first_tenant(shelf: Shelf, answers: KeptAnswers) -> None:
    answers.note(["resp_1"], ANN, "gpt", 1, LEVELS)
    answers.note(["resp_1"], DAN, "vllm", 0, LEVELS)
    assert await answers.find("resp_1", DAN) is None
    row = await answers.find("resp_1", ANN)
    assert row is not None
    assert row.deployment == "gpt"


async def test_a_conversation_never_becomes_less_sensitive(answers: KeptAnswers) -> None:
    for level, expected in ((1, "internal"), (2, "restricted"), (0, "restricted")):
        answers.note(["conv_1"], ANN, "gpt", level, LEVELS)
        row = await answers.find("conv_1", ANN)
        assert row is not None
        assert row.sensitivity == expected


async def test_ids_that_are_none_are_not_looked_for(shelf: Shelf, answers: KeptAnswers) -> None:
    for name in ("x" * 201, "resp\0", "resp\n1"):
        answers.note([name], ANN, "gpt", 1, LEVELS)
        assert await answers.find(name, ANN) is None
    assert shelf.asked == 0


async def test_what_is_forgotten_is_unknown(shelf: Shelf, answers: KeptAnswers) -> None:
    answers.note(["resp_1"], ANN, "gpt", 1, LEVELS)
    await until(lambda: shelf.rows)
    await answers.forget("resp_1")
    assert await answers.find("resp_1", ANN) is None


# -- what a call refers to ------------------------------------------------------------------------------------------


async def test_a_call_goes_where_its_answer_is_kept_at_least_as_sensitive(answers: KeptAnswers) -> None:
    answers.note(["resp_1"], ANN, "gpt", 2, LEVELS)
    answers.note(["msg_1"], ANN, "gpt", 1, LEVELS)
    standing = await answers.stand(a_call(previous("resp_1"), Reference("msg_1", "input.0.id")), BEN, LEVELS)
    assert (standing.level, standing.deployment, standing.field) == (2, "gpt", "previous_response_id")
    assert not standing.call.has_media
    assert standing.raised(Sensitivity(1)) == Sensitivity(2, ("the call that made previous_response_id",))
    higher = Sensitivity(2, ("media",))
    assert standing.raised(higher) is higher


async def test_what_is_spliced_in_raises_and_pins_to_nothing(answers: KeptAnswers) -> None:
    for levels, level in ((("public", "restricted"), 2), (("internal",), 1), (("public", "no longer there"), 2)):
        resumed = Resumed(b"{}", frozenset(levels), "previous_response_id", "resp_headgate_1")
        standing = await answers.stand(a_call(), ANN, LEVELS, resumed)
        assert (standing.level, standing.deployment) == (level, None)
        assert standing.raised(Sensitivity(0)).causes == ("the call that made previous_response_id",)
    answers.note(["msg_1"], ANN, "gpt", 0, LEVELS)
    both = await answers.stand(a_call(Reference("msg_1", "input.0.id")), ANN, LEVELS, resumed)
    assert (both.level, both.deployment, both.field) == (2, "gpt", "input.0.id")


async def test_another_tenants_answer_is_as_unknown_as_one_that_never_was(answers: KeptAnswers) -> None:
    answers.note(["resp_1", "conv_1"], ANN, "gpt", 1, LEVELS)
    told = set()
    for reference in (previous("resp_1"), previous("resp_2"), conversation("conv_1")):
        with pytest.raises(UnknownAnswer) as caught:
            await answers.stand(a_call(reference), DAN, LEVELS)
        told.add((caught.value.status, caught.value.code, caught.value.message.replace(reference.id, "")))
    assert len(told) == 2  # one for each field


async def test_a_conversation_of_which_nothing_is_known_counts_as_media(answers: KeptAnswers) -> None:
    standing = await answers.stand(a_call(conversation("conv_9")), ANN, LEVELS)
    assert standing.call.has_media
    assert (standing.level, standing.deployment) == (0, None)


async def test_answers_that_are_kept_at_two_places_do_not_go_together(answers: KeptAnswers) -> None:
    answers.note(["resp_1"], ANN, "gpt", 1, LEVELS)
    answers.note(["msg_1"], ANN, "grok", 1, LEVELS)
    with pytest.raises(BadRequest) as caught:
        await answers.stand(a_call(previous("resp_1"), Reference("msg_1", "input.0.id")), ANN, LEVELS)
    assert caught.value.param == "input.0.id"


async def test_a_level_that_the_config_no_longer_has_counts_as_the_highest(answers: KeptAnswers) -> None:
    answers.note(["resp_1"], ANN, "gpt", 0, LEVELS)
    standing = await answers.stand(a_call(previous("resp_1")), ANN, ("open", "closed"))
    assert standing.level == 1


def a_plan(*names: str, removed: tuple[Removal, ...] = ()) -> Plan:
    candidates = tuple(Deployment(name, "p", "k", "m", "a", b"", ()) for name in names)
    return Plan("chat", "in_order", frozenset(names), candidates, removed)


def test_a_plan_is_pinned_to_the_one_deployment() -> None:
    standing = Standing(a_call(), 0, "gpt", "previous_response_id")
    pinned = standing.pinned(a_plan("grok", "gpt", "vllm"))
    assert [deployment.name for deployment in pinned.candidates] == ["gpt"]
    assert pinned.permitted == {"grok", "gpt", "vllm"}
    assert Standing(a_call()).pinned(plan := a_plan("grok")) is plan


@pytest.mark.parametrize(
    ("removed", "why"),
    [((), "route 'chat' does not lead there"), ((Removal("gpt", "clearance", "restricted > internal"),), "restricted")],
)
def test_a_plan_without_it_says_why(removed: tuple[Removal, ...], why: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Standing(a_call(), 0, "gpt", "previous_response_id").pinned(a_plan("grok", removed=removed))
    assert caught.value.code == "response_not_reachable"
    assert why in caught.value.message


# -- a store that is away -------------------------------------------------------------------------------------------


async def test_without_the_store_what_is_known_here_still_holds_and_the_rest_is_told(
    shelf: Shelf, answers: KeptAnswers
) -> None:
    answers.note(["resp_1"], ANN, "gpt", 1, LEVELS)
    shelf.away = True
    assert await answers.find("resp_1", ANN) is not None
    with pytest.raises(Overloaded) as caught:
        await answers.find("resp_2", ANN)
    assert caught.value.code == "store_unavailable"


async def test_what_was_noted_while_the_store_was_away_is_written_when_it_is_back(
    shelf: Shelf, answers: KeptAnswers
) -> None:
    shelf.away = True
    answers.note(["resp_1"], ANN, "gpt", 1, LEVELS)
    answers.note(["resp_2"], ANN, "gpt", 1, LEVELS)
    shelf.away = False
    await until(lambda: set(shelf.rows) == {"resp_1", "resp_2"})


def test_a_stop_writes_what_waits(shelf: Shelf) -> None:
    one = KeptAnswers(shelf, KeptContent(ResponsesWire()))
    one.note([f"resp_{number}" for number in range(1200)], ANN, "gpt", 1, LEVELS)
    one.start()
    one.stop()
    assert len(shelf.rows) == 1200
    assert shelf.writes == 3  # batches


def test_a_row_that_the_store_does_not_take_costs_no_other(shelf: Shelf) -> None:
    shelf.refuses = "resp_2"
    one = KeptAnswers(shelf, KeptContent(ResponsesWire()))
    one.note(["resp_1", "resp_2", "resp_3"], ANN, "gpt", 1, LEVELS)
    one.start()
    one.stop()
    assert set(shelf.rows) == {"resp_1", "resp_3"}


async def test_old_ids_are_forgotten(shelf: Shelf) -> None:
    shelf.rows["resp_0"] = KeptRow("resp_0", "team:red", "gpt", "public", 0.0)
    one = KeptAnswers(shelf, KeptContent(ResponsesWire()))
    one.note(["resp_1"], ANN, "gpt", 1, LEVELS)
    one.start()
    one.stop()
    assert set(shelf.rows) == {"resp_1"}


async def test_what_a_process_remembers_is_bounded(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "REMEMBERED", 3)
    one = KeptAnswers(shelf, KeptContent(ResponsesWire()))
    one.note([f"resp_{number}" for number in range(9)], ANN, "gpt", 1, LEVELS)
    one.start()
    one.stop()
    assert await one.find("resp_0", ANN) is not None  # from the store
    assert shelf.asked == 1
