"""What vLLM refuses reaches the caller as its own fault, once, in OpenAI's shape; what is ours never does."""

from __future__ import annotations

import pytest

from tests.pool.places import BREAKERS, place
from tests.pool.replicas import CONTEXT_WINDOW, Replica
from tests.stories.house import Config, World


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_prompt_that_does_not_fit_is_told_by_its_code(served: World, stream: bool) -> None:
    got = await served.chat("dry fields " * CONTEXT_WINDOW, stream=stream, max_tokens=5)
    assert (got.status, got.error["code"]) == (400, "context_length_exceeded")
    assert f"maximum context length is {CONTEXT_WINDOW} tokens" in got.error["message"]
    receipt = await served.receipt(got.id)
    assert [each["reason"] for each in receipt["attempts"]] == ["context_too_long"]
    assert receipt["cost_nano"] == 0


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"temperature": -1}, "temperature"),
        ({"logprobs": True, "top_logprobs": 100}, "logprobs"),
        ({"max_tokens": 2 * CONTEXT_WINDOW}, "max_tokens"),
        ({"structured_outputs": {"regex": "("}}, "regex"),
    ],
    ids=lambda wrong: next(iter(wrong)) if isinstance(wrong, dict) else "",
)
async def test_what_vllm_refuses_is_passed_on_and_not_tried_again(served: World, wrong: Config, word: str) -> None:
    got = await served.chat(**wrong)
    assert (got.status, got.error["code"]) == (400, None)
    assert word in got.error["message"]
    receipt = await served.receipt(got.id)
    assert [each["reason"] for each in receipt["attempts"]] == ["bad_request"]
    conditions = (await served.get("/admin/breakers")).json["breakers"]
    assert {each["failures"] for each in conditions if each["endpoint"].startswith("tiny#")} == {0}


async def test_a_name_that_nobody_serves_is_refused_before_vllm_is_asked(served: World) -> None:
    got = await served.chat(model="nobody")
    assert (got.status, got.error["code"]) == (404, "model_not_found")
    assert not (await served.receipt(got.id)).get("attempts")


async def test_a_model_that_the_pool_does_not_serve_is_our_mistake_and_answered_by_the_next(
    world: World, pool: list[Replica]
) -> None:
    await world.serve({"misnamed": place(pool, model="huge"), "tiny": place(pool)}, breakers=BREAKERS)
    since = len(world.house.log)
    got = await world.chat(max_tokens=2)
    assert (got.status, got.deployment) == (200, "tiny")
    receipt = await world.receipt(got.id)
    assert [each.get("reason") for each in receipt["attempts"]] == ["not_found", None]
    assert [event["reason"] for event in world.house.events("upstream_needs_attention", since)] == ["not_found"]


async def test_an_endpoint_that_vllm_does_not_have_is_never_the_callers_fault(served: World) -> None:
    got = await served.post("/v1/embeddings", {"model": "chat", "input": "dry fields"})
    assert got.status >= 500
