"""Every kind of provider that a story can put behind the house: one shape for all of them, whatever stands for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from gateway.simulator import Fault as Simulated
from gateway.simulator import Simulator
from tests.fakes import bedrock as fake_bedrock
from tests.fakes.bedrock import KEY_ID, REGION, SECRET, Answer, Bedrock
from tests.fakes.cohere import FakeCohere
from tests.fakes.ollama import FakeOllama
from tests.stories.house import Config, Place, World, at

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
CALLED = {"city": "Bern", "unit": "celsius"}
SHAPED = {"name": "Bern"}

# kind of provider -> the model that stands there: each row of the matrix is one wire, spoken to one family of models
MODELS = {
    "openai": "demo",
    "vllm": "demo",
    "anthropic": "demo",
    "gemini": "gemini-3-flash",
    "vertex": "gemini-3-flash",
    "claude at vertex": "claude-sonnet-4-5@1",
    "bedrock": SONNET,
    "cohere": "command-a-reasoning-08-2025",
    "ollama": "llama",
}


class Behind(NamedTuple):
    """A provider: where it stands, what it was asked, and how it is told what comes next."""

    place: Place
    asked: Callable[[], Sequence[Any]]  # the bodies that came
    fail: Callable[[str], None]  # "long": the prompt is too long; "cut": the next stream breaks off within
    say: Callable[..., None]  # what the next answers are, of a provider that makes none up


async def behind(kind: str, world: World, stack: AsyncExitStack) -> Behind:
    """Returns a provider of a kind, listening as long as the stack holds."""
    made = _MADE.get(kind)
    return await (_simulated(kind, world) if made is None else made(stack))


async def _simulated(kind: str, world: World) -> Behind:
    simulator: Simulator = await world.simulator(wire="vllm" if kind == "vllm" else "openai")
    model = MODELS[kind]
    vertex: Config = {"project": "p", "region": "eu", "access_token": "ya29.token", "api_keys": []}
    at_vertex = kind in ("vertex", "claude at vertex")
    place = at(simulator, kind="vertex" if at_vertex else kind, provider=vertex if at_vertex else None, model=model)

    def fail(how: str) -> None:
        simulator.faults[model] = [Simulated("context" if how == "long" else "cut")]

    return Behind(place, lambda: [json.loads(each.body) for each in simulator.requests], fail, _nothing)


async def _bedrock(stack: AsyncExitStack) -> Behind:
    fake = await stack.enter_async_context(Bedrock())
    where = {"kind": "bedrock", "base_url": fake.url, "region": REGION, "location": "eu"}
    identity = {"access_key_id": KEY_ID, "secret_access_key": SECRET}
    answers = {
        "call": fake_bedrock.calls("get_weather", CALLED),
        "shape": fake_bedrock.text(json.dumps(SHAPED)),
        "thought": Answer(
            (
                (None, [{"reasoningContent": {"text": "hm"}}, {"reasoningContent": {"signature": "c2ln"}}]),
                (None, [{"text": "so"}]),
            )
        ),
    }

    def fail(how: str) -> None:
        too_long = fake_bedrock.Fault("ValidationException", "Input is too long for requested model.")
        fake.faults.append(too_long if how == "long" else fake_bedrock.Fault("", after=2))

    return Behind(
        _place(where | identity, SONNET),
        lambda: [each.body for each in fake.asked],
        fail,
        lambda *names: fake.answers.extend(answers[name] for name in names if name in answers),
    )


async def _cohere(stack: AsyncExitStack) -> Behind:
    fake = await stack.enter_async_context(FakeCohere())
    where = {"kind": "cohere", "base_url": fake.url, "location": "self_hosted", "api_key": "co-upstream-secret"}
    return Behind(
        _place(where, MODELS["cohere"]),
        lambda: [each.body for each in fake.asked],
        lambda how: setattr(fake, "fault", how),
        _nothing,
    )


async def _ollama(stack: AsyncExitStack) -> Behind:
    fake = await stack.enter_async_context(FakeOllama())
    where = {"kind": "ollama_native", "base_url": fake.url, "location": "self_hosted"}
    return Behind(
        _place(where, MODELS["ollama"]),
        lambda: [each.body for each in fake.asked],
        lambda how: setattr(fake, "fault", how),
        _nothing,
    )


_MADE = {"bedrock": _bedrock, "cohere": _cohere, "ollama": _ollama}


def _place(provider: Config, model: str) -> Place:
    return Place(provider, {"model": model, "price": {"input": "1.00", "output": "4.00"}})


def _nothing(*_: object) -> None:
    """Says nothing beforehand: simulators and fakes that read what they are asked need not be told."""
