"""Kept Responses, by the wire alone: taken apart and put together, spliced, listed; and what a writer leaves."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from adapters.dialects._responses_kept import ResponsesWire
from adapters.dialects.responses import ResponsesDialect
from gateway.core.blocks import Begin, Event, Finished, Metered, TextDelta
from gateway.core.errors import BadRequest
from gateway.core.keeping import Keeping
from gateway.core.money import Usage
from tests.adapters.responses_wire import a_call

WIRE = ResponsesWire()
EVENTS: tuple[Event, ...] = (Begin("x", "demo", 0), TextDelta("Hi"), Finished("stop"), Metered(Usage(fresh_input=3)))


def written(keeping: Keeping | None, stream: bool, **fields: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Writes one answer; returns its Response, and those of all events."""
    call = msgspec.structs.replace(a_call(stream=stream, **fields), keeping=keeping)
    writer = ResponsesDialect().writer(call, "demo")
    told = b"".join([*(writer.write(event) for event in EVENTS), writer.end()]).decode()
    if not stream:
        return json.loads(told), []
    lines = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
    responses = [line["response"] for line in lines if "response" in line]
    return responses[-1], responses


@pytest.mark.parametrize("stream", [False, True])
def test_a_writer_leaves_what_it_says_is_stored(stream: bool) -> None:
    keeping = Keeping(10_000, "resp_headgate_0")
    response, told = written(keeping, stream)
    assert (response["store"], response["previous_response_id"]) == (True, "resp_headgate_0")
    assert all(each["store"] for each in told)
    assert keeping.answer is not None
    assert json.loads(keeping.answer) == response


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("keeping", [None, Keeping(0, "resp_headgate_0"), Keeping(1000)])
def test_what_may_not_be_kept_or_is_too_large_is_not_left(keeping: Keeping | None, stream: bool) -> None:
    response, _ = written(keeping, stream, input="x" * 900)
    assert response["store"] is False
    assert keeping is None or keeping.answer is None


def test_store_is_declared_where_nobody_does() -> None:
    for keeping, extra in ((None, {"store": True}), (Keeping(0), {"store": True}), (Keeping(1000), {})):
        call = msgspec.structs.replace(a_call(store=True), keeping=keeping)
        assert ResponsesDialect().conversation(call).extra == extra


def test_an_answer_is_the_same_again() -> None:
    keeping = Keeping(10_000)
    response, _ = written(keeping, False, instructions="Be brief. " * 40, metadata={"a": "b"})
    assert keeping.answer is not None
    parts = WIRE.parts(json.dumps({"input": "Hello"}).encode(), keeping.answer)
    assert [name for name, _ in parts.large] == ["instructions"]
    assert json.loads(WIRE.answer(parts.rest, parts.large, [raw for _, raw in parts.output])) == response
    assert parts.id == response["id"]
    assert [name for name, _ in parts.output] == [item["id"] for item in response["output"]]
    assert [json.loads(raw) for raw in parts.given] == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
    ]
    last = WIRE.streamed(keeping.answer).decode().rstrip().rpartition("data: ")[2]
    assert json.loads(last)["response"] == response


def test_a_splice_changes_nothing_else_and_no_byte_of_what_stays() -> None:
    item = '{"role":"user",  "content":"\\u00e9"}'
    request = '{"model":"m","unknown":[1.50],"previous_response_id":"resp_a","input":[%s,%s,%s]}'
    references = ['{"type":"item_reference","id":"msg_a"}', '{"id":"msg_b","type":"item_reference"}']
    body = WIRE.resumed(
        (request % (item, *references)).encode(), {"resp_a": [b'{"n":1}', b'{"n":2}'], "msg_a": [b'{"n":3}']}
    )
    items = ['{"n":1}', '{"n":2}', item, '{"n":3}', references[1]]  # the last was not found: it is somebody else's
    assert body.decode() == f'{{"model":"m","unknown":[1.50],"input":[{",".join(items)}]}}'


def test_only_what_was_found_is_taken_out() -> None:
    body = b'{"previous_response_id":"resp_1","input":"Hello"}'
    assert json.loads(WIRE.resumed(body, {}))["previous_response_id"] == "resp_1"


GIVEN = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": "fc_1", "status": "completed"},
    {"type": "function_call_output", "call_id": "c", "output": "d"},
    {"type": "reasoning", "summary": []},
]


def page(**query: str) -> dict[str, Any]:
    given = [json.dumps(item).encode() for item in GIVEN]
    listed: dict[str, Any] = json.loads(WIRE.page("resp_headgate_12", given, query))
    return listed


def test_items_are_listed_newest_first_with_ids_that_page() -> None:
    whole = page(order="asc")
    assert [item["type"] for item in whole["data"]] == ["message", "message", *(item["type"] for item in GIVEN[2:])]
    ids = [item["id"] for item in whole["data"]]
    assert len(set(ids)) == 5
    assert ids[2] == "fc_1"
    assert (whole["first_id"], whole["last_id"], whole["has_more"]) == (ids[0], ids[-1], False)
    assert [item["content"][0]["type"] for item in whole["data"][:2]] == ["input_text", "output_text"]
    assert whole["data"][3]["status"] == "completed"
    assert [item["id"] for item in page()["data"]] == ids[::-1]
    gathered: list[str] = []
    more: dict[str, str] = {}
    while len(gathered) < 9:
        part = page(limit="2", **more)
        gathered += [item["id"] for item in part["data"]]
        if not part["has_more"]:
            break
        more = {"after": part["last_id"]}
    assert gathered == ids[::-1]
    assert page(after=ids[0]) == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"order": "up"}, {"after": "no"}])
def test_a_page_that_is_none_is_refused_by_name(query: dict[str, str]) -> None:
    with pytest.raises(BadRequest) as caught:
        page(**query)
    assert caught.value.param == next(iter(query))
