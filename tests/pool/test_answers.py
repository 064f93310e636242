"""What vLLM answers comes through whole, in every form that it has, and is booked by its own count."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.pool.places import ENDLESS
from tests.pool.replicas import NAME, Replica
from tests.stories.house import DONE, Answer, Config, World, body_of

CITIES = ["Paris", "Rome"]
WEATHER: Config = {
    "type": "object",
    "properties": {"city": {"enum": CITIES}, "rain": {"type": "boolean"}},
    "required": ["city", "rain"],
    "additionalProperties": False,
}


async def booked(world: World, got: Answer, usage: Config) -> None:
    """Holds the one receipt of an answer against what vLLM says it used."""
    receipt = await world.receipt(got.id)
    assert (receipt["status"], receipt.get("reason"), receipt.get("estimated", False)) == (200, None, False)
    assert [(each["endpoint"].partition("#")[0], each.get("reason")) for each in receipt["attempts"]] == [
        ("tiny", None)
    ]
    tokens = receipt["tokens"]
    assert tokens["fresh_input"] + tokens.get("cached_input", 0) == usage["prompt_tokens"] > 0
    assert tokens["output_text"] == usage["completion_tokens"] > 0
    assert receipt["cost_nano"] == usage["prompt_tokens"] * 1_000 + usage["completion_tokens"] * 4_000


async def test_an_answer_comes_whole_and_is_booked_by_its_own_count(served: World) -> None:
    got = await served.chat(max_tokens=20, **ENDLESS)
    assert (got.status, got.deployment) == (200, "tiny")
    answer = got.json
    assert answer["system_fingerprint"].startswith("vllm-")
    assert (answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", 20)
    assert got.content
    await booked(served, got, answer["usage"])


@pytest.mark.parametrize("asked", [True, False], ids=["usage asked for", "usage not asked for"])
async def test_a_stream_comes_in_pieces_and_is_booked_by_its_own_count(
    served: World, pool: list[Replica], asked: bool
) -> None:
    options = {"stream_options": {"include_usage": True}} if asked else {}
    got = await served.chat(stream=True, max_tokens=400, **ENDLESS, **options)
    assert got.whole
    *events, done = got.events
    assert done == DONE
    pieces = [event for event in events if event["choices"] and event["choices"][0]["delta"].get("content")]
    assert len(pieces) > 1
    direct = pool[0].ask(body_of(model=NAME, max_tokens=400, **ENDLESS)).json()["usage"]
    told = [event["usage"] for event in events if event.get("usage")]
    assert [(usage["prompt_tokens"], usage["completion_tokens"]) for usage in told] == (
        [(direct["prompt_tokens"], 400)] if asked else []
    )
    await booked(served, got, direct)


async def test_several_choices_come_side_by_side(served: World) -> None:
    got = await served.chat(max_tokens=5, n=3, **ENDLESS)
    assert sorted(choice["index"] for choice in got.json["choices"]) == [0, 1, 2]
    await booked(served, got, got.json["usage"])
    streamed = await served.chat(max_tokens=5, n=3, stream=True, **ENDLESS)
    ends = [c["index"] for event in streamed.events[:-1] for c in event["choices"] if c["finish_reason"]]
    assert sorted(ends) == [0, 1, 2]


async def test_log_probabilities_come_with_each_token(served: World) -> None:
    for stream in (False, True):
        got = await served.chat(stream=stream, max_tokens=8, logprobs=True, top_logprobs=2, **ENDLESS)
        answers = got.events[:-1] if stream else [got.json]
        choices = [choice for answer in answers for choice in answer["choices"] if choice.get("logprobs")]
        tokens = [token for choice in choices for token in choice["logprobs"]["content"]]
        assert len(tokens) == 8
        assert all(token["logprob"] <= 0 and len(token["top_logprobs"]) == 2 for token in tokens)


async def test_a_schema_is_kept_to(served: World) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": WEATHER}}
    for stream in (False, True):
        got = await served.chat(stream=stream, max_tokens=60, response_format=wanted)
        answer = json.loads(got.content)
        assert answer["city"] in CITIES
        assert answer["rain"] in (True, False)
        assert answer.keys() == {"city", "rain"}


@pytest.mark.parametrize(
    ("constraint", "pattern"),
    [({"choice": ["yes", "no"]}, "yes|no"), ({"regex": "[a-c]{3}-[0-9]{2}"}, "[a-c]{3}-[0-9]{2}")],
    ids=["choice", "regex"],
)
async def test_vllms_own_constraints_reach_it(served: World, constraint: Config, pattern: str) -> None:
    got = await served.chat(max_tokens=60, structured_outputs=constraint)
    assert re.fullmatch(pattern, got.content)


async def test_a_named_tool_is_called_through_the_official_client(served: World) -> None:
    client = await served.openai()
    asked: dict[str, Any] = {
        "model": "chat",
        "messages": [{"role": "user", "content": "Will it rain?"}],
        "max_tokens": 300,
        "tools": [{"type": "function", "function": {"name": "weather", "strict": True, "parameters": WEATHER}}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
    }
    whole = await client.chat.completions.create(**asked)
    assert whole.choices[0].message.tool_calls is not None
    call = whole.choices[0].message.tool_calls[0]
    name, arguments = call.function.name, call.function.arguments
    streamed = ["", ""]
    async for chunk in await client.chat.completions.create(**asked, stream=True):
        for delta in chunk.choices[0].delta.tool_calls or [] if chunk.choices else []:
            streamed[0] += delta.function.name or ""
            streamed[1] += delta.function.arguments or ""
    for called, said in ((name, arguments), streamed):
        assert called == "weather"
        assert json.loads(said)["city"] in CITIES


async def test_the_older_completions_come_whole_too(served: World) -> None:
    body = {"model": "chat", "prompt": "A headgate is", "max_tokens": 6, **ENDLESS}
    got = await served.post("/v1/completions", body)
    assert (got.json["choices"][0]["finish_reason"], got.json["usage"]["completion_tokens"]) == ("length", 6)
    await booked(served, got, got.json["usage"])
    streamed = await served.post("/v1/completions", {**body, "stream": True})
    assert streamed.whole


async def test_what_one_caller_could_touch_another_with_never_reaches_vllm(served: World, pool: list[Replica]) -> None:
    collides = {"max_tokens": 2, "request_id": "of-another"}
    assert "of-another" in pool[0].ask(body_of(model=NAME, **collides)).json()["id"]
    got = await served.chat(**collides)
    assert "of-another" not in got.json["id"]
    assert got.headers["x-headgate-warnings"].startswith("request_id")
