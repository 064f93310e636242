"""Anthropic's SDKs and Vercel's AI SDK, by the wire of every provider that a test can stand in for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.simulator import Fault, Simulator
from gateway.wiring.kinds import DIALECTS
from tests.fakes.bedrock import Bedrock, calls, text
from tests.fakes.cohere import FakeCohere
from tests.fakes.ollama import FakeOllama
from tests.sdks.conftest import Clients
from tests.stories.house import Place, World, at
from tests.stories.test_bedrock import at as at_bedrock
from tests.stories.test_vectors import place as at_fake

# client -> the dialect that it speaks
CLIENTS = {
    "anthropic": "messages",
    "anthropic_node": "messages",
    "ai_openai": "responses",
    "ai_anthropic": "messages",
    "ai_compatible": "chat",
}
SIMULATED = ("openai", "anthropic", "vllm", "gemini")
KINDS = (*SIMULATED, "bedrock", "cohere", "ollama_native")
FLOW = {"gate": "north", "litres": 7, "open": True}
FINISHES = {
    "anthropic": ("end_turn", "tool_use"),
    "anthropic_node": ("end_turn", "tool_use"),
    "ai_openai": ("stop", "tool-calls"),
    "ai_anthropic": ("stop", "tool-calls"),
    "ai_compatible": ("stop", "tool-calls"),
}


class Provider:
    """A provider of one kind, served by the gateway as its one deployment."""

    def __init__(self, kind: str, stands: Any, place: Place, asked: Callable[[], list[Any]]) -> None:
        self.kind = kind
        self.stands = stands
        self.place = place
        self._asked = asked

    @property
    def asked(self) -> list[str]:
        """The bodies that it was asked with."""
        return [each if isinstance(each, str) else json.dumps(each) for each in self._asked()]

    def said(self, words: str) -> None:
        """Checks that an answer is this provider's."""
        begin = {"bedrock": "You said: Hello", "cohere": "Waterloo is", "ollama_native": "A llama hums"}
        assert words.startswith(begin.get(self.kind, "I am a simulator standing in for demo")), words


@pytest.fixture(params=KINDS)
async def provider(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Provider]:
    kind: str = request.param
    async with AsyncExitStack() as stack:
        if kind == "bedrock":
            bedrock = await stack.enter_async_context(Bedrock())
            yield Provider(kind, bedrock, at_bedrock(bedrock), lambda: [each.body for each in bedrock.asked])
        elif kind in ("cohere", "ollama_native"):
            fake = await stack.enter_async_context(FakeCohere() if kind == "cohere" else FakeOllama())
            yield Provider(kind, fake, at_fake(fake), lambda: [each.body for each in fake.asked])
        else:
            simulator = await world.simulator()
            yield Provider(
                kind,
                simulator,
                at(simulator, kind=kind),
                lambda: [each.body.decode() for each in simulator.requests],
            )


@pytest.fixture(params=CLIENTS)
def name(request: pytest.FixtureRequest) -> str:
    client: str = request.param
    if CLIENTS[client] not in DIALECTS:
        pytest.skip(f"the {CLIENTS[client]} dialect is not there yet")
    return client


async def ask(world: World, clients: Clients, name: str, provider: Provider, do: str, **asked: Any) -> dict[str, Any]:
    await world.serve({"only": provider.place}, on_failure={"attempts": 1})
    return await clients(name).ask(world, do, **asked)


async def test_an_answer_comes_whole(world: World, clients: Clients, name: str, provider: Provider) -> None:
    got = await ask(world, clients, name, provider, "chat")
    provider.said(got["text"])
    assert got["finish"] == FINISHES[name][0]
    assert len(provider.asked) == 1
    receipt = await world.receipt(got["headers"]["x-request-id"])
    assert (receipt["deployment"], receipt["status"]) == ("only", 200)
    assert sum(receipt["tokens"].values()) == sum(got["usage"]) > 0


async def test_an_answer_comes_as_a_stream(world: World, clients: Clients, name: str, provider: Provider) -> None:
    got = await ask(world, clients, name, provider, "stream")
    provider.said(got["text"])
    assert got["finish"] == FINISHES[name][0]
    assert got["pieces"] > (0 if provider.kind == "bedrock" else 3)
    receipt = await world.receipt(got["headers"]["x-request-id"])
    assert (receipt["deployment"], receipt["stream"]) == ("only", True)
    assert sum(receipt["tokens"].values()) == sum(got["usage"]) > 0


@pytest.mark.parametrize("name", ["langchain", "llama_index", "pydantic_ai", "node"])
async def test_clients_of_openais_chat_are_answered_whole_and_in_pieces(
    world: World, clients: Clients, name: str, provider: Provider
) -> None:
    """The rest of what they do is in `test_clients`, by the providers that the simulator stands in for."""
    for do in ("chat_async", "stream_async"):
        got = await ask(world, clients, name, provider, do)
        provider.said(got["text"])
        receipt = await world.receipt(got["headers"]["x-request-id"])
        assert (receipt["deployment"], receipt.get("stream", False)) == ("only", do == "stream_async")
        assert sum(receipt["tokens"].values()) == sum(got["usage"]) > 0


async def test_a_tool_is_called_and_its_result_goes_back(
    world: World, clients: Clients, name: str, provider: Provider
) -> None:
    if isinstance(provider.stands, Bedrock):
        provider.stands.answers += [calls("get_weather", {"city": "Bern"}), text("It is 21 degrees in Bern.")]
    got = await ask(world, clients, name, provider, "tools", text="Ask get_weather about Bern.")
    assert got.get("called"), got
    assert all(isinstance(given["city"], str) for given in got["called"])
    assert got["finishes"] == [FINISHES[name][1], FINISHES[name][0]]
    first, second = provider.asked
    assert "get_weather" in first
    for given in got["called"]:
        assert f"21 degrees in {given['city']}" in json.dumps(json.loads(second), ensure_ascii=False)
    assert got["text"]


@pytest.mark.parametrize("name", ["ai_openai", "ai_anthropic", "ai_compatible"])
async def test_a_second_turn_has_the_first(world: World, clients: Clients, name: str, provider: Provider) -> None:
    """As its users write it: with Responses, what was said is named by its id, and the SDK's default is to store."""
    got = await ask(world, clients, name, provider, "talk", text="Hello")
    assert "error" not in got, got
    provider.said(got["first"])
    assert got["text"]
    second = json.dumps(json.loads(provider.asked[1]), ensure_ascii=False)
    assert "Hello" in second
    assert "And you?" in second
    if name == "ai_openai" and provider.kind in ("openai", "vllm"):  # they speak Responses, and keep it themselves
        assert "item_reference" in second
    else:
        assert json.dumps(got["first"][:30], ensure_ascii=False)[1:-1] in second
        assert "item_reference" not in second


async def test_an_answer_has_the_form_that_was_asked_for(
    world: World, clients: Clients, name: str, provider: Provider
) -> None:
    if provider.kind in ("cohere", "ollama_native"):
        pytest.skip("its stand-in answers with one form")
    if isinstance(provider.stands, Bedrock):
        provider.stands.answers.append(text(json.dumps(FLOW)))
    got = await ask(world, clients, name, provider, "structured")
    assert {field: type(value) for field, value in got["structured"].items()} == {
        "gate": str,
        "litres": int,
        "open": bool,
    }


async def test_an_image_reaches_the_provider(world: World, clients: Clients, name: str, provider: Provider) -> None:
    got = await ask(world, clients, name, provider, "image")
    assert got["text"], got
    assert "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk" in provider.asked[0]


CLASSES = {
    "anthropic": {429: "RateLimitError", 404: "NotFoundError", 500: "InternalServerError"},
    "anthropic_node": {429: "RateLimitError", 404: "NotFoundError", 500: "InternalServerError"},
}


@pytest.mark.parametrize("status", [404, 429, 500])
async def test_an_error_is_raised_as_the_clients_own_class_with_our_words(
    world: World, clients: Clients, name: str, status: int
) -> None:
    simulator = await world.simulator()
    await world.serve({"only": at(simulator)}, on_failure={"attempts": 1})
    if status != 404:
        simulator.faults["demo"] = [Fault(str(status))]
    got = await clients(name).ask(world, "chat", model="caht" if status == 404 else "chat")
    error = got["error"]
    assert CLASSES.get(name, {}).get(status, "APICallError") in error["classes"], error
    said = {404: "did you mean 'chat'?", 429: "answered with status 429", 500: "answered with status 500"}
    assert said[status] in error["text"]


async def test_a_stream_that_breaks_is_an_error_and_no_short_answer(
    world: World, clients: Clients, name: str, provider: Provider
) -> None:
    if isinstance(provider.stands, Simulator):
        provider.stands.faults["demo"] = [Fault.parse("cut;after=3")]
    elif isinstance(provider.stands, Bedrock):
        from tests.fakes.bedrock import Fault as Broken

        provider.stands.faults.append(Broken("", "", after=2))
    else:
        provider.stands.fault = "cut"
    got = await ask(world, clients, name, provider, "stream")
    assert "error" in got, got
    assert "deployment 'only' failed: " in got["error"]["text"]
