"""What the gateway keeps of translated answers: bounded by bytes and time, shared between turns, its tenant's alone."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dialects._responses_kept import ResponsesWire
from adapters.dialects.responses import ResponsesDialect
from gateway.core.errors import BadRequest, TooLarge
from gateway.core.keeping import Keeping
from gateway.core.types import Call, Principal
from gateway.kept_content import KeepSettings, KeptContent

ANN, BEN, CID = Principal("ann", team="red"), Principal("ben", team="red"), Principal("red", team=None)
SETTINGS = KeepSettings(max_bytes=1 << 20, ttl_s=60.0, max_entry_bytes=1 << 18)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class House:
    """A store of answers and who answers: each turn's words are its number."""

    def __init__(self, settings: KeepSettings = SETTINGS) -> None:
        self.clock = Clock()
        self.content = KeptContent(ResponsesWire(), settings, self.clock)
        self.turns = 0

    def ask(self, body: dict[str, Any], who: Principal = ANN, *, level: str = "internal", size: int = 10) -> str:
        """Asks once, as the pipeline does; returns the answer's id."""
        self.turns += 1
        id = f"{self.turns:020x}"
        call = self.resumed(body, who)
        text = {"type": "output_text", "text": f"answer {self.turns} " + "x" * size, "annotations": []}
        answer = {
            "id": f"resp_headgate_{id}",
            "object": "response",
            "tools": body.get("tools", []),
            **{f"member_{number}": None for number in range(25)},
            "output": [{"id": f"msg_headgate_{id}0000", "type": "message", "role": "assistant", "content": [text]}],
        }
        keeping = Keeping(1 << 18, answer=json.dumps(answer).encode())
        self.content.put(a_call(json.loads(call), keeping), who, level, "claude")
        self.content.find("", who)  # which takes it apart at once
        return f"resp_headgate_{id}"

    def resumed(self, body: dict[str, Any], who: Principal = ANN) -> bytes:
        call = a_call(body)
        resumed = self.content.resume(call, who)
        return resumed.body if resumed is not None else call.body

    def said(self, body: dict[str, Any], who: Principal = ANN) -> list[str]:
        """Returns the texts of what a call comes to."""
        found = []
        for item in json.loads(self.resumed(body, who))["input"]:
            content = item["content"]
            found.append(content if isinstance(content, str) else content[0]["text"])
        return [text.rstrip("x ") for text in found]


def a_call(body: dict[str, Any], keeping: Keeping | None = None) -> Call:
    call = ResponsesDialect().parse("req_1", json.dumps(body).encode(), ())
    return Call(call.id, "chat", "responses", call.body, references=call.references, kept=call.kept, keeping=keeping)


def on(name: str, text: str = "on") -> dict[str, Any]:
    return {"input": text, "previous_response_id": name}


def to(*names: str) -> dict[str, Any]:
    return {"input": [{"type": "item_reference", "id": f"{name.replace('resp_', 'msg_')}0000"} for name in names]}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    one = House()
    yield one
    one.content.close()


async def test_a_chain_is_the_conversation_from_its_first_word(house: House) -> None:
    first = house.ask({"input": "a"})
    second = house.ask(on(first, "b"))
    assert house.said(on(second, "c")) == ["a", "answer 1", "b", "answer 2", "c"]
    assert house.said(to(second)) == ["answer 2"]
    assert "previous_response_id" not in json.loads(house.resumed(on(second)))


async def test_what_is_promised_has_room(house: House) -> None:
    """However short the items of a conversation are."""
    house.content.apply(KeepSettings(1 << 17, 60.0, 1 << 20))
    told = house.content.keeping(a_call({"input": "a"}), None)
    assert told is not None
    items: list[Any] = []
    while len(json.dumps(items, separators=(",", ":"))) < told.max_bytes - 1500:
        items += [{"role": "user", "content": f"{len(items) + each}"} for each in range(20)]
    assert house.content.find(house.ask({"input": items}), ANN) is not None


async def test_a_chain_outlives_what_it_goes_on_from(house: House) -> None:
    first = house.ask({"input": "a"})
    second = house.ask(on(first, "b"))
    kept = house.content.find(first, ANN)
    assert kept is not None
    house.content.forget(kept)
    assert house.said(on(second, "c")) == ["a", "answer 1", "b", "answer 2", "c"]
    for gone in (on(first), to(first)):
        with pytest.raises(BadRequest) as caught:
            house.resumed(gone)
        assert caught.value.code == "response_not_kept"


async def test_a_request_that_refers_to_nothing_of_ours_stays_as_it_came(house: House) -> None:
    house.ask({"input": "a"})
    for body in ({"input": "a"}, {"input": "b", "previous_response_id": "resp_1"}):
        assert house.content.resume(a_call(body), ANN) is None


async def test_an_item_that_is_referred_to_twice_stands_once(house: House) -> None:
    first = house.ask({"input": "a"})
    assert house.said(to(first, first)) == ["answer 1"]


async def test_a_reference_within_a_text_is_a_text(house: House) -> None:
    first = house.ask({"input": "a"})
    quoted = json.dumps(to(first))
    assert house.said({"input": [{"role": "user", "content": quoted}, *to(first)["input"]]}) == [quoted, "answer 1"]


async def test_it_is_its_tenants_alone(house: House) -> None:
    first = house.ask({"input": "a"})
    assert house.said(on(first), BEN) == ["a", "answer 1", "on"]
    for gone in (on(first), to(first)):
        with pytest.raises(BadRequest):
            house.resumed(gone, CID)
    assert house.content.find(first, CID) is None


async def test_levels_are_those_of_all_that_a_call_goes_on_from(house: House) -> None:
    first, second = house.ask({"input": "a"}, level="restricted"), house.ask({"input": "b"}, level="internal")
    resumed = house.content.resume(a_call(on(first) | to(second)), ANN)
    assert resumed is not None
    assert (resumed.levels, resumed.field) == ({"restricted", "internal"}, "previous_response_id")


async def test_an_answers_time_begins_anew_with_each_use(house: House) -> None:
    first, second = house.ask({"input": "a"}), house.ask({"input": "b"})
    for _ in range(3):
        house.clock.now += 40
        assert house.said(to(first)) == ["answer 1"]
    with pytest.raises(BadRequest):
        house.resumed(on(second))
    house.clock.now += 61
    house.ask({"input": "c"})
    assert len(house.content) == 1  # whatever is over its time goes when another comes


async def test_the_ones_used_longest_ago_make_room(house: House) -> None:
    house.content.apply(KeepSettings(max_bytes=44_000, ttl_s=60.0, max_entry_bytes=20_000))
    names = [house.ask({"input": f"{number}"}, size=8000) for number in range(4)]
    assert house.said(to(names[0])) == ["answer 1"]
    names.append(house.ask({"input": "more"}, size=8000))
    with pytest.raises(BadRequest):
        house.resumed(to(names[1]))
    assert [house.content.find(name, ANN) is not None for name in names] == [True, False, True, True, True]
    assert house.content.size_bytes <= 44_000


async def test_what_turns_repeat_is_held_once(house: House) -> None:
    """A client that sends its tools and its conversation anew with each turn takes little more than what is new."""
    tools = [{"type": "function", "name": "f", "parameters": {"d": "y" * 20_000}}]
    said: list[dict[str, Any]] = []
    for turn in range(20):
        said.append({"role": "user", "content": f"{turn} " + "z" * 1000})
        name = house.ask({"input": list(said), "tools": tools})
        said += to(name)["input"]
    assert house.content.size_bytes < 20_000 + 20 * 4000 + 20_000
    assert len(house.said({"input": said})) == 40


async def test_what_is_dropped_leaves_nothing(house: House) -> None:
    first = house.ask({"input": "a"})
    house.ask(on(first))
    house.content.apply(KeepSettings())
    assert (len(house.content), house.content.size_bytes) == (0, 0)
    assert not house.content._items
    assert not house.content._pieces


async def test_a_resumed_request_is_no_larger_than_a_request_may_be(house: House) -> None:
    house.content.apply(KeepSettings(1 << 20, 60.0, 1 << 18, max_body_bytes=4000))
    names = [house.ask({"input": "a"}, size=1500) for _ in range(3)]
    assert house.resumed(to(*names[:2]))
    with pytest.raises(TooLarge, match=r"server\.max_body"):
        house.resumed(to(*names))


async def test_a_writer_is_told_how_much_may_be_kept(house: House) -> None:
    kept, unkept = a_call({"input": "a"}), a_call({"input": "a", "store": False})
    told = house.content.keeping(kept, None)
    assert told is not None
    assert told.max_bytes == 1 << 17  # an eighth of all, so that there is room for what is promised
    assert house.content.keeping(unkept, None) is None
    first = house.ask({"input": "a"})
    went_on = a_call(on(first) | {"store": False})
    again = house.content.keeping(went_on, house.content.resume(went_on, ANN))
    assert again is not None
    assert (again.max_bytes, again.previous) == (0, first)
    house.content.apply(KeepSettings())
    assert house.content.keeping(kept, None) is None


async def test_the_bytes_that_are_counted_are_at_least_those_that_are_taken(house: House) -> None:
    house.content.apply(KeepSettings(1 << 26, 60.0, 1 << 20))
    house.ask({"input": "warm"})
    gc.collect()
    tracemalloc.start()
    try:
        before, counted = tracemalloc.get_traced_memory()[0], house.content.size_bytes
        for number in range(500):
            house.ask({"input": f"question {number}", "tools": [{"type": "function", "name": f"f{number}"}]})
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    counted = house.content.size_bytes - counted
    assert taken <= counted < 2 * taken


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("ask", "previous", "items", "forget", "wait", "shrink")),
        st.integers(0, 8),
        st.sampled_from((10, 900, 5000)),
    ),
    max_size=40,
)


@given(STEPS)
async def test_however_it_is_used_its_books_are_right(steps: list[tuple[str, int, int]]) -> None:
    house = House(KeepSettings(max_bytes=30_000, ttl_s=60.0, max_entry_bytes=20_000))
    content = house.content
    names = ["resp_headgate_none"]
    for do, which, size in steps:
        name = names[which % len(names)]
        try:
            if do == "ask":
                names.append(house.ask({"input": f"{size}" * (size // 4)}, size=size))
            elif do == "previous":
                names.append(house.ask(on(name), size=size))
            elif do == "items":
                names.append(house.ask(to(name, *names[:which]), size=size))
            elif do == "forget" and (kept := content.find(name, ANN)) is not None:
                content.forget(kept)
            elif do == "wait":
                house.clock.now += size / 100
            elif do == "shrink":
                content.apply(KeepSettings(max_bytes=6 * size, ttl_s=60.0, max_entry_bytes=20_000))
        except BadRequest:
            assert content.find(name, ANN) is None or do == "items"
        assert content.size_bytes <= content._settings.max_bytes
        answers = list(content._answers.values())
        held = [piece for kept in answers for piece in kept.pieces]
        assert {id(piece) for piece in held} == {id(piece) for piece in content._pieces.values()}
        assert sum(piece.holders for piece in content._pieces.values()) == len(held)
        assert set(content._items) == {item for kept in answers for item in kept.items}
    content.apply(KeepSettings())
    assert content.size_bytes == 0
    content.close()
