"""Clients notice no difference: chats, streams, tools, structured answers, vectors, errors, by every wire."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import pytest

from gateway.simulator import Fault
from tests.sdks.conftest import Clients
from tests.stories.house import World, at, until

KINDS = ["openai", "anthropic", "vllm", "gemini"]
WHOLE = {
    "langchain": ["chat", "chat_async"],
    "llama_index": ["chat", "chat_async"],
    "pydantic_ai": ["chat", "chat_async"],
    "instructor": ["chat", "chat_async"],
    "node": ["chat_async"],
}
STREAMED = {
    "langchain": ["stream", "stream_async"],
    "llama_index": ["stream", "stream_async"],
    "pydantic_ai": ["stream_async"],
    "instructor": ["stream", "stream_async"],
    "node": ["stream_async"],
}
NAMES = list(WHOLE)


def each(abilities: dict[str, list[str]]) -> Iterable[Any]:
    """Returns each client with each of its abilities, for a test's parameters."""
    return [pytest.param(name, do, id=f"{name}-{do}") for name in abilities for do in abilities[name]]


def check_words(name: str, text: str) -> None:
    """Checks that an answer is the simulator's: instructor gets an object, the others words."""
    if name == "instructor":
        assert set(json.loads(text)) == {"gate", "litres", "open"}
    else:
        assert text.startswith("I am a simulator standing in for demo")


# -- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "do"), each(WHOLE))
async def test_a_chat_is_answered_and_has_its_receipt(
    world: World, clients: Clients, name: str, do: str, kind: str
) -> None:
    await world.serve({"only": at(await world.simulator(), kind=kind)})
    got = await clients(name).ask(world, do, more={"max_tokens": 200})
    check_words(name, got["text"])
    assert got["finish"] in ("stop", "tool_calls")
    receipt = await world.receipt(got["headers"]["x-request-id"])
    assert (receipt["deployment"], receipt["status"]) == ("only", 200)
    assert sum(receipt["tokens"].values()) == sum(got["usage"])
    assert receipt["cost_nano"] == got["usage"][0] * 1000 + got["usage"][1] * 4000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "do"), each(STREAMED))
async def test_a_stream_comes_in_pieces_and_has_its_receipt(
    world: World, clients: Clients, name: str, do: str, kind: str
) -> None:
    await world.serve({"only": at(await world.simulator(), kind=kind)})
    got = await clients(name).ask(world, do, more={"max_tokens": 200})
    check_words(name, got["text"])
    whole = kind == "gemini" and name == "instructor"  # it asks for a tool, and Gemini's calls come in one piece
    assert got["pieces"] > (1 if whole else 5)
    receipt = await world.receipt(got["headers"]["x-request-id"])
    assert (receipt["deployment"], receipt["stream"]) == ("only", True)
    if name != "instructor":  # its partial objects carry neither
        assert got["finish"] == "stop"
        assert sum(receipt["tokens"].values()) == sum(got["usage"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "instructor"])
async def test_a_tool_is_called_and_its_result_goes_back(world: World, clients: Clients, name: str, kind: str) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider, kind=kind)})
    got = await clients(name).ask(world, "tools", text="Ask get_weather about Bern.", more={"max_tokens": 200})
    check_words(name, got["text"])
    assert [set(arguments) for arguments in got["called"]] == [{"city", "unit"}]
    assert len(provider.requests) == 2
    [arguments] = got["called"]
    assert f"21 degrees {arguments['unit']} in {arguments['city']}" in provider.requests[1].body.decode()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
async def test_an_answer_fits_the_model_that_was_asked_for(
    world: World, clients: Clients, name: str, kind: str
) -> None:
    await world.serve({"only": at(await world.simulator(), kind=kind)})
    got = await clients(name).ask(world, "structured", more={"max_tokens": 200})
    assert set(got["structured"]) == {"json_schema", "function_calling"}
    for flow in got["structured"].values():
        assert {field: type(value) for field, value in flow.items()} == {"gate": str, "litres": int, "open": bool}


async def test_an_answer_that_does_not_fit_is_asked_for_again_with_what_was_wrong(
    world: World, clients: Clients
) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    got = await clients("instructor").ask(world, "corrected")
    assert got["tries"] == len(provider.requests) == 2
    assert b"the gauge says otherwise" in provider.requests[1].body


@pytest.mark.parametrize("name", [name for name in NAMES if name != "instructor"])
async def test_texts_become_vectors(world: World, clients: Clients, name: str) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    got = await clients(name).ask(world, "embed")
    assert [len(vector) for vector in got["vectors"]] == [64, 64]
    assert all(abs(sum(x * x for x in vector) - 1) < 1e-3 for vector in got["vectors"])
    assert {request.path for request in provider.requests} == {"/v1/embeddings"}


ODD: dict[str, Any] = {
    "store": False,
    "metadata": {"purpose": "test"},
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "verbosity": "low",
    "unheard_of": {"a": [1, None]},
}


async def test_fields_that_are_not_ours_reach_a_provider_of_the_same_wire_untouched(
    world: World, clients: Clients
) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    got = await clients("node").ask(world, "chat_async", more=ODD)
    assert "x-headgate-warnings" not in got["headers"]
    sent = provider.requests[0].json()
    assert {name: sent.get(name) for name in ODD} == ODD


async def test_fields_that_another_wire_cannot_express_are_declared(world: World, clients: Clients) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider, kind="anthropic")})
    got = await clients("node").ask(world, "chat_async", more=ODD)
    check_words("node", got["text"])
    declared = {warning.split(":")[0] for warning in got["headers"]["x-headgate-warnings"].split("; ")}
    assert declared == {"metadata", "prompt_cache_key", "verbosity", "unheard_of"}
    assert provider.requests[0].json()["metadata"] == {"user_id": "s"}


# -- errors -------------------------------------------------------------------------------------------------------

OPENAI = {
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
    502: "InternalServerError",
}
PYDANTIC_AI = {
    401: "ModelAuthenticationError",
    403: "ModelAuthenticationError",
    404: "ModelNotFoundError",
    429: "ModelRateLimitError",
    502: "ModelServerError",
}
CAUSES = {
    401: {"key": "hg-wrong"},
    403: {"headers": {"x-data-sensitivity": "restricted"}},
    404: {"model": "caht"},
    429: {},
    502: {},
}
SAID = {
    401: "headgate keys create",
    403: "clearance (restricted > internal)",
    404: "did you mean 'chat'?",
    429: "the provider answered with status 429",
    502: "the provider answered with status 500",
}


@pytest.mark.parametrize("status", CAUSES)
@pytest.mark.parametrize("name", NAMES)
async def test_an_error_is_raised_as_the_clients_own_class_with_our_words(
    world: World, clients: Clients, name: str, status: int
) -> None:
    provider = await world.simulator()
    hashed = hashlib.sha256(b"hg-right").hexdigest()
    keys = [{"name": "right", "hash": f"sha256:{hashed}"}]
    await world.serve({"only": at(provider, location="us")}, auth="keys", keys=keys, on_failure={"attempts": 1})
    provider.faults["demo"] = [Fault({429: "429", 502: "500"}.get(status, "ok"), retry_after="9")]
    got = await clients(name).ask(world, "chat_async", **{"key": "hg-right", **CAUSES[status]})
    error = got["error"]
    assert (PYDANTIC_AI if name == "pydantic_ai" else OPENAI)[status] in error["classes"]
    assert SAID[status] in error["text"]
    assert "hg-" not in error["text"]
    assert len(provider.requests) == (status in (429, 502))


@pytest.mark.parametrize("name", ["langchain", "pydantic_ai", "node"])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_the_responses_api_answers(world: World, clients: Clients, name: str, kind: str) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider, kind=kind)})
    got = await clients(name).ask(world, "responses")
    check_words(name, got["text"])
    assert len(provider.requests) == 1


@pytest.mark.parametrize("name", NAMES)
async def test_a_client_that_retries_is_answered_when_the_provider_is_free_again(
    world: World, clients: Clients, name: str
) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, on_failure={"attempts": 1})
    provider.faults["demo"] = [Fault("429", retry_after="1")]
    got = await clients(name).ask(world, "chat_async", retries=2)
    check_words(name, got["text"])
    assert len(provider.requests) == 2


@pytest.mark.parametrize("fault", ["cut;after=3", "error;after=3"])
@pytest.mark.parametrize(("name", "do"), each(STREAMED))
async def test_a_stream_that_breaks_is_an_error_and_no_short_answer(
    world: World, clients: Clients, name: str, do: str, fault: str
) -> None:
    provider = await world.simulator(tpot_s=0.002)
    await world.serve({"only": at(provider)}, on_failure={"attempts": 1})
    provider.faults["demo"] = [Fault.parse(fault)]
    got = await clients(name).ask(world, do)
    assert "deployment 'only' failed: " in got["error"]["text"]


# -- headers, the cache, leaving ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
async def test_a_label_sends_a_call_elsewhere_and_the_answer_says_where(
    world: World, clients: Clients, name: str
) -> None:
    abroad, here = await world.simulator(), await world.simulator()
    await world.serve({"abroad": at(abroad, location="us"), "here": at(here)})
    deployments = []
    for headers in ({}, {"x-data-sensitivity": "restricted"}):
        got = await clients(name).ask(world, WHOLE[name][0], headers=headers)
        deployments.append(got["headers"]["x-headgate-deployment"])
    assert deployments == ["abroad", "here"]
    assert (len(abroad.requests), len(here.requests)) == (1, 1)


@pytest.mark.parametrize("name", NAMES)
async def test_an_answer_at_temperature_0_is_kept_and_says_so(world: World, clients: Clients, name: str) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, cache={"at": "temperature_0"})
    first, second = [await clients(name).ask(world, WHOLE[name][0], more={"temperature": 0}) for _ in range(2)]
    assert first["headers"]["x-headgate-cache"] == "miss"
    assert second["headers"]["x-headgate-cache"].startswith("hit; age=")
    assert second["text"] == first["text"]
    assert len(provider.requests) == 1
    receipt = await world.receipt(second["headers"]["x-request-id"])
    assert (receipt["cache"], receipt["cost_nano"]) == ("hit", 0)
    assert receipt["saved_nano"] > 0


# Not LlamaIndex and instructor, read synchronously. The first does not close a stream that is broken off, and the SDK's
# stream refers to itself: it stays open until Python's garbage collector comes by. The second reads to the end at once.
@pytest.mark.parametrize(("name", "do"), [("langchain", "stream"), *((name, "stream_async") for name in NAMES)])
async def test_who_leaves_a_stream_ends_it_at_the_provider(world: World, clients: Clients, name: str, do: str) -> None:
    # The fifth piece is the last that comes. One that waited in a buffer could swallow the cancellation: LangChain
    # reads through asyncio.wait_for, which does so before Python 3.12 (https://github.com/python/cpython/issues/86296).
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    provider.faults["demo"] = [Fault.parse("stall;after=5")]
    got = await clients(name).ask(world, do, leave_after=5)
    assert got.get("pieces") == 5, got
    await until(lambda: provider.aborted == 1)
    receipt = await world.receipt(got["headers"]["x-request-id"], left=True)
    assert (receipt["status"], receipt["reason"]) == (499, "cancelled")
