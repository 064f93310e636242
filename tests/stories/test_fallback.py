"""What a caller sees where providers fail before a word has left: another provider's answer, or why there is none."""

from __future__ import annotations

import time

import pytest

from gateway.simulator import Fault
from tests.patience import TICK_S, promptly, until
from tests.stories.house import World, at


def reasons(receipt: dict[str, object]) -> list[str | None]:
    """Returns how each attempt of a call ended."""
    return [attempt.get("reason") for attempt in receipt["attempts"]]  # type: ignore[attr-defined]


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("500", "server_error"),
        ("502", "server_error"),
        ("501", "server_error"),
        ("503", "overloaded"),
        ("529", "overloaded"),
        ("429", "rate_limited"),
        ("quota", "out_of_credit"),
        ("402", "out_of_credit"),
        ("401", "unauthenticated"),
        ("403", "unauthenticated"),
        ("404", "not_found"),
        ("408", "aborted"),
        ("reset", "connect"),
        ("close", "connect"),
        ("garbage", "server_error"),
        ("redirect", "server_error"),
        ("content-type", None),
        ("empty", None),
        ("cut;after=0", None),
        ("cut-reset;after=0", None),
        ("torn;after=0", None),
        ("error;after=0", "server_error"),
        ("abort;after=0", "aborted"),
    ],
)
async def test_a_failure_before_any_content_is_answered_by_the_next_deployment(
    world: World, fault: str, reason: str | None, stream: bool
) -> None:
    failing, next_one = await world.simulator(), await world.simulator()
    await world.serve({"first": at(failing), "second": at(next_one)})
    failing.faults["demo"] = [Fault.parse(fault)] * 3
    got = await world.chat(stream=stream)
    assert (got.status, got.deployment) == (200, "second"), got.text
    assert got.content.startswith("I am a simulator")
    assert got.whole if stream else got.json["choices"][0]["finish_reason"] == "stop"
    assert "error" not in got.text
    receipt = await world.receipt(got.id)
    assert receipt["deployment"] == "second"
    assert receipt["attempts"][0]["deployment"] == "first"
    assert reasons(receipt)[-1] is None
    failed = reasons(receipt)[:-1]
    if reason is not None:
        assert set(failed) == {reason}
    else:
        assert failed
        assert None not in failed
    assert f"first ({failed[0]})" in receipt["sentence"]
    assert receipt["sentence"].startswith("sent to second: next after first")


async def test_a_connection_that_is_refused_goes_to_the_next_deployment(world: World) -> None:
    gone, next_one = await world.simulator(), await world.simulator()
    await world.serve({"first": at(gone), "second": at(next_one)})
    await gone.refuse()
    got = await world.chat()
    assert got.deployment == "second"
    assert reasons(await world.receipt(got.id)) == ["connect", None]


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize(("failing", "answering"), [("anthropic", "openai"), ("openai", "anthropic")])
@pytest.mark.parametrize("fault", ["529", "cut;after=0", "error;after=0"])
async def test_a_failure_on_one_wire_is_answered_on_another(
    world: World, failing: str, answering: str, fault: str, stream: bool
) -> None:
    one, other = await world.simulator(), await world.simulator()
    await world.serve({"first": at(one, kind=failing), "second": at(other, kind=answering)})
    one.faults["demo"] = [Fault.parse(fault)] * 3
    got = await world.chat(stream=stream, max_tokens=200)
    assert (got.status, got.deployment) == (200, "second"), got.text
    assert got.content.startswith("I am a simulator")
    if stream:
        assert got.whole
        assert len({event["id"] for event in got.events[:-1]}) == 1


async def test_what_a_deployment_cannot_do_goes_to_one_that_can(world: World) -> None:
    plain, able = await world.simulator(), await world.simulator()
    places = {"plain": at(plain, capabilities=[], modalities=["text"], endpoints=["chat"]), "able": at(able)}
    await world.serve(places)
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    assert (await world.chat()).deployment == "plain"
    assert (await world.chat(tools=[tool])).deployment == "able"
    assert (await world.chat(n=2)).deployment == "able"
    assert (await world.post("/v1/embeddings", {"model": "chat", "input": "hello"})).deployment == "able"
    got = await world.chat(model="plain", tools=[tool])
    assert (got.status, got.error["code"]) == (400, "unsupported_capability")
    assert len(plain.requests) == 1


async def test_a_500_is_asked_once_more_before_the_next_deployment(world: World) -> None:
    moody, next_one = await world.simulator(), await world.simulator()
    await world.serve({"first": at(moody), "second": at(next_one)})
    moody.faults["demo"] = [Fault("500")]
    got = await world.chat()
    assert got.deployment == "first"
    assert len(moody.requests) == 2
    assert not next_one.requests


async def test_a_full_queue_of_one_vllm_replica_is_answered_by_the_other(world: World) -> None:
    full, free = await world.simulator(wire="vllm", max_queued=0), await world.simulator(wire="vllm")
    await world.serve({"pool": at([full, free], kind="vllm")})
    answers = [await world.chat(), await world.chat()]  # the calls begin at one replica each, in turn
    assert [got.status for got in answers] == [200, 200]
    assert full.requests
    assert len(free.requests) == 2
    assert {request.path for request in free.requests} == {"/v1/chat/completions"}


async def test_a_vllm_endpoint_without_a_path_is_asked_at_v1(world: World) -> None:
    replica = await world.simulator(wire="vllm")
    place = at([replica], kind="vllm", provider={"endpoints": [replica.url]})
    await world.serve({"pool": place})
    assert (await world.chat()).status == 200
    assert replica.requests[0].path == "/v1/chat/completions"


# -- 429 ----------------------------------------------------------------------------------------------------------


async def test_a_429_with_a_wait_within_the_routes_patience_is_waited_for(world: World) -> None:
    busy, next_one = await world.simulator(), await world.simulator()
    await world.serve({"first": at(busy), "second": at(next_one)}, on_failure={"patience": "1s"})

    async def ask() -> float:
        busy.faults["demo"] = [Fault("429", retry_after_ms=120)]
        began = time.monotonic()
        got = await world.chat()
        took = time.monotonic() - began
        assert got.deployment == "first"
        assert took >= 0.12 - TICK_S
        return took

    await promptly(ask, 1.0)
    assert not next_one.requests


async def test_a_429_with_a_wait_beyond_the_routes_patience_goes_on_at_once(world: World) -> None:
    busy, next_one = await world.simulator(), await world.simulator()
    await world.serve({"first": at(busy), "second": at(next_one)}, on_failure={"patience": "1s"})
    busy.faults["demo"] = [Fault("429", retry_after="60")]
    began = time.monotonic()
    assert (await world.chat()).deployment == "second"
    assert time.monotonic() - began < 20


async def test_a_429_is_waited_for_where_nobody_else_can_answer_and_it_fits_the_deadline(world: World) -> None:
    busy = await world.simulator()
    await world.serve({"only": at(busy)})
    busy.faults["demo"] = [Fault("429", retry_after_ms=150)]
    began = time.monotonic()
    assert (await world.chat()).status == 200
    assert time.monotonic() - began >= 0.15 - TICK_S


async def test_a_429_that_nobody_can_wait_for_is_passed_on_with_its_wait(world: World) -> None:
    busy = await world.simulator()
    await world.serve({"only": at(busy)}, on_failure={"deadline": "2s"})
    busy.faults["demo"] = [Fault("429", retry_after="7")]
    got = await world.chat()
    assert (got.status, got.error["code"], got.error["type"]) == (429, "rate_limit_exceeded", "rate_limit_error")
    assert got.headers["retry-after"] == "7"


async def test_a_deployment_that_asked_for_time_is_left_alone_until_it_is_over(world: World) -> None:
    busy, next_one = await world.simulator(), await world.simulator()
    await world.serve({"first": at(busy), "second": at(next_one)})
    busy.faults["demo"] = [Fault("429", retry_after_ms=400)]
    began = time.monotonic()
    assert (await world.chat()).deployment == "second"
    assert len(busy.requests) == 1

    async def asked_again() -> bool:
        return (await world.chat()).deployment == "first"

    await until(asked_again)
    assert time.monotonic() - began >= 0.4 - TICK_S
    assert len(busy.requests) == 2
    assert len(next_one.requests) >= 1


# -- credentials --------------------------------------------------------------------------------------------------


async def test_a_dead_credential_is_replaced_by_the_next_and_not_used_again(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider, keys=["sk-one", "sk-two"])})
    provider.faults["demo"] = [Fault("401")]
    assert [(await world.chat()).status for _ in range(5)] == [200] * 5
    dead, *alive = [request.header(b"authorization") for request in provider.requests]
    assert len(alive) == 5
    assert set(alive) == {b"Bearer sk-one", b"Bearer sk-two"} - {dead}


@pytest.mark.parametrize("status", ["401", "403", "402"])
async def test_a_providers_quarrel_with_our_credential_is_never_the_callers_error(world: World, status: str) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    provider.faults["demo"] = [Fault(status, message="key sk-upstr...cret of org acme is bad")] * 3
    got = await world.chat()
    assert (got.status, got.error["code"]) == (502, "upstream_credentials")
    assert "'only'" in got.error["message"]
    assert "acme" not in got.text


async def test_a_new_config_gives_a_dead_credential_another_chance(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    provider.faults["demo"] = [Fault("401")]
    assert (await world.chat()).status == 502
    assert (await world.chat()).status == 503
    await world.house.reload()
    assert (await world.chat()).status == 200


# -- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault("slow", wait_s=60), Fault("hang")], ids=["slow", "hang"])
async def test_a_first_token_that_does_not_come_in_time_comes_from_the_next_deployment(
    world: World, fault: Fault
) -> None:
    slow, next_one = await world.simulator(), await world.simulator()
    await world.serve({"first": at(slow), "second": at(next_one)}, on_failure={"first_token": "500ms"})
    slow.faults["demo"] = [fault]
    began = time.monotonic()
    got = await world.chat(stream=True)
    assert got.deployment == "second"
    assert got.whole
    assert 0.5 - TICK_S <= time.monotonic() - began < 20
    assert reasons(await world.receipt(got.id)) == ["timeout", None]
    await until(lambda: slow.aborted == 1)


async def test_a_unary_call_may_take_longer_than_a_first_token(world: World) -> None:
    slow = await world.simulator()
    await world.serve({"only": at(slow)}, on_failure={"first_token": "100ms"})
    slow.faults["demo"] = [Fault("slow", wait_s=0.4)]
    assert (await world.chat()).status == 200


# -- what is not tried elsewhere ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["400", "413", "422"])
@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
async def test_the_callers_own_fault_is_passed_on_in_the_providers_words(
    world: World, status: str, stream: bool
) -> None:
    strict, next_one = await world.simulator(), await world.simulator()
    await world.serve({"first": at(strict), "second": at(next_one)})
    strict.faults["demo"] = [Fault(status, message="'frobnicate' is not a field", code="unknown_field")]
    got = await world.chat(stream=stream)
    assert got.status == int(status)
    assert (got.error["message"], got.error["code"]) == ("'frobnicate' is not a field", "unknown_field")
    assert len(strict.requests) == 1
    strict.faults["demo"] = [Fault(status, message="no")]
    assert (await world.chat(stream=stream)).error == {
        "message": "no",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    assert not next_one.requests


async def test_a_prompt_that_is_too_long_goes_to_a_larger_window_only(world: World) -> None:
    small, equal, large = await world.simulator(), await world.simulator(), await world.simulator()
    places = {"small": at(small, context_window=8192), "equal": at(equal, context_window=8192)}
    await world.serve({**places, "large": at(large, context_window=200_000)})
    small.faults["demo"] = [Fault("context")]
    got = await world.chat()
    assert got.deployment == "large"
    assert not equal.requests


async def test_a_prompt_that_is_too_long_for_all_is_the_callers_error(world: World) -> None:
    small = await world.simulator()
    await world.serve({"small": at(small, context_window=8192)})
    small.faults["demo"] = [Fault("context")]
    got = await world.chat()
    assert (got.status, got.error["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
async def test_a_providers_content_filter_is_never_routed_around(world: World, stream: bool) -> None:
    strict, lax = await world.simulator(), await world.simulator()
    await world.serve({"first": at(strict), "second": at(lax)})
    strict.faults["demo"] = [
        Fault("400", code="content_filter", message="The prompt was filtered."),
        Fault("filter", after=3),
    ]
    refused = await world.chat(stream=stream)
    assert (refused.status, refused.error["code"]) == (400, "content_filter")
    ended = await world.chat(stream=stream)
    assert ended.deployment == "first"
    assert "content_filter" in ended.text
    assert not lax.requests


async def test_a_route_can_narrow_what_is_tried_again(world: World) -> None:
    failing, next_one = await world.simulator(), await world.simulator()
    await world.serve({"first": at(failing), "second": at(next_one)}, on_failure={"errors": ["connect"]})
    failing.faults["demo"] = [Fault("500"), *[Fault("reset")] * 2]  # the first reset may be one of a kept connection
    assert (await world.chat()).error["code"] == "upstream_error"
    assert (await world.chat()).deployment == "second"


async def test_a_route_bounds_its_attempts(world: World) -> None:
    simulators = [await world.simulator() for _ in range(3)]
    await world.serve({f"d{n}": at(each) for n, each in enumerate(simulators)}, on_failure={"attempts": 2})
    for each in simulators:
        each.faults["demo"] = [Fault("reset")] * 3
    got = await world.chat()
    assert got.status == 502
    assert [len(each.requests) for each in simulators] == [1, 1, 0]


# -- when everybody fails -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("500", 502, "upstream_error"),
        ("503", 503, "upstream_overloaded"),
        ("reset", 502, "upstream_unreachable"),
        ("garbage", 502, "upstream_error"),
        ("404", 502, "upstream_model_not_found"),
        ("cut;after=0", 502, "upstream_stream_cut"),
        ("hang", 504, "upstream_timeout"),
    ],
)
async def test_where_everybody_fails_the_caller_is_told_who_and_why(
    world: World, fault: str, status: int, code: str
) -> None:
    failing = await world.simulator()
    patience = {"first_token": "150ms"} if fault == "hang" else {}
    await world.serve({"only": at(failing)}, on_failure={"attempts": 2, **patience})
    failing.faults["demo"] = [Fault.parse(fault)] * 3
    got = await world.chat(stream=True)
    assert (got.status, got.error["code"], got.error["type"]) == (status, code, "upstream_error")
    assert got.headers["content-type"] == "application/json"
    assert got.error["message"].startswith("deployment 'only' failed: ")
    receipt = await world.receipt(got.id)
    assert receipt["status"] == status
    assert receipt["cost_nano"] == 0
    assert len(receipt["attempts"]) == len(failing.requests)
