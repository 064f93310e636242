"""Imported configs serve: calls go where LiteLLM's own rules would have sent them, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.importing import Imported
from gateway.simulator import Simulator
from tests.stories.house import House, World

_KEY = "hg-a-key-of-the-tests"
_STORE = """
store: {{url: "sqlite:///{folder}/headgate.db", journal: "{folder}/journal"}}
keys:
  - {{name: anybody, hash: "sha256:{hash}"}}
  - {{name: free-tier, hash: "sha256:{free}", tags: {{route: free}}}}
"""
_CALLER = {"authorization": f"Bearer {_KEY}"}


@asynccontextmanager
async def _serving(made: Imported, folder: Path, environ: Mapping[str, str]) -> AsyncIterator[World]:
    """Serves an imported config, as it was written, in a process of its own."""
    house = House(folder)
    hashes = {"hash": sha256(_KEY.encode()).hexdigest(), "free": sha256(b"hg-free").hexdigest()}
    house.path.write_text(made.text + _STORE.format(folder=folder, **hashes))
    house.start(environ=dict.fromkeys(made.stand_ins, "unset") | dict(environ))
    world = World(house)
    try:
        yield world
    finally:
        await world.close()
        house.stop()


@pytest.fixture
async def places() -> AsyncIterator[dict[str, Simulator]]:
    """Three providers that listen."""
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(Simulator()) for name in ("one", "two", "three")}


async def test_a_balanced_group_answers_streams_and_falls_back(
    imported: dict[str, Imported], places: dict[str, Simulator], tmp_path: Path
) -> None:
    one, two, three = places.values()
    environ = {
        "ZEPHYR_ONE": f"{one.url}/v1",
        "ZEPHYR_TWO": f"{two.url}/v1",
        "OPENAI_BASE": f"{three.url}/v1",
        "OPENAI_API_KEY": "sk-upstream",
    }
    async with _serving(imported["load_balancing"], tmp_path, environ) as world:
        whole = await world.chat(model="zephyr-beta")
        streamed = await world.chat(model="zephyr", stream=True)
        assert (whole.status, streamed.status) == (200, 200)
        assert streamed.whole
        assert whole.deployment.startswith("zephyr-7b-beta")
        assert len(one.requests) + len(two.requests) == 2
        alias = await world.chat(model="gpt-4")
        assert alias.deployment == "my-gpt-4o"
        await one.close()
        await two.close()
        behind = await world.chat(model="zephyr-beta", stream=True)
        assert behind.deployment == "my-gpt-4o"
        assert behind.whole
        receipt = await world.receipt(behind.id)
        assert [line.get("reason") for line in receipt["attempts"]] == ["connect", "connect", None]


async def test_fallbacks_cross_providers_and_wires(
    imported: dict[str, Imported], places: dict[str, Simulator], tmp_path: Path
) -> None:
    mistral, anthropic, groq = places.values()
    environ = {
        "MISTRAL_BASE": f"{mistral.url}/v1",
        "ANTHROPIC_BASE": anthropic.url,
        "GROQ_BASE": f"{groq.url}/v1",
        "MISTRAL_API_KEY": "a", "ANTHROPIC_API_KEY": "b", "GROQ_API_KEY": "c", "OPENAI_API_KEY": "d",
    }  # fmt: skip
    async with _serving(imported["fallbacks"], tmp_path, environ) as world:
        first = await world.chat(model="small")
        assert first.deployment == "mistral-small-latest"
        await mistral.close()
        second = await world.chat(model="small", stream=True)
        assert (second.deployment, second.whole) == ("claude-haiku-4-5", True)
        assert (await world.chat(model="anthropic/claude-haiku-4-5")).deployment == "claude-haiku-4-5"
        await anthropic.close()
        third = await world.chat(model="small")
        assert third.deployment == "llama-3.3-70b-versatile"


async def test_order_weights_and_tags_say_who_answers(
    imported: dict[str, Imported], places: dict[str, Simulator], tmp_path: Path
) -> None:
    first, second, _ = places.values()
    environ = {"FIRST": f"{first.url}/v1", "SECOND": f"{second.url}/v1", "OURS_API_KEY": "sk-ours"}
    made = imported["ordered"]
    closed = Imported(made.text.replace("\nauth: open", "\nauth: keys"), made.report, made.stand_ins)
    async with _serving(closed, tmp_path, environ) as world:
        assert (await world.chat(model="ordered")).status == 401
        assert (await world.chat(model="ordered", headers=_CALLER)).deployment == "first"
        free = {"authorization": "Bearer hg-free"}
        assert (await world.chat(model="tiered", headers=free)).deployment == "free-model"
        assert (await world.chat(model="tiered", headers=_CALLER)).deployment == "paid-model"
        await first.close()
        answer = await world.chat(model="ordered", headers=_CALLER, stream=True)
        assert (answer.deployment, answer.whole) == ("second", True)


async def test_embeddings_a_default_model_and_headers_go_where_they_should(
    imported: dict[str, Imported], places: dict[str, Simulator], tmp_path: Path
) -> None:
    place = places["one"]
    environ = {"CHAT_BASE": f"{place.url}/v1", "CHAT_KEY": "sk-chat", "OPENAI_CHAT_X_API_TOKEN": "hush"}
    async with _serving(imported["caching"], tmp_path, environ) as world:
        answer = await world.chat(model="auto")
        assert answer.deployment == "chat-model"
        sent = dict(place.requests[-1].headers)
        assert (sent[b"ai-resource-group"], sent[b"x-api-token"]) == (b"blue", b"hush")
        assert sent[b"openai-organization"] == b"org-ikDc4ex8NB"
        vectors = await world.post("/v1/embeddings", {"model": "embed", "input": "Hello"})
        assert (vectors.status, vectors.deployment) == (200, "text-embedding-3-small")
        assert (await world.chat(model="embed")).status == 400
        cached = [await world.chat(model="chat", temperature=0) for _ in range(2)]
        assert [(await world.receipt(each.id)).get("cache") for each in cached] == ["miss", "hit"]


async def test_a_pool_and_a_compatible_server_answer_without_a_key(
    imported: dict[str, Imported], places: dict[str, Simulator], tmp_path: Path
) -> None:
    environ = {"VLLM_BASE": f"{places['one'].url}/v1"}
    async with _serving(imported["quick_start"], tmp_path, environ) as world:
        assert (await world.chat(model="vllm-models", headers=_CALLER)).deployment == "opt-125m"
        refused = await world.chat(model="gpt-4o", headers=_CALLER)
        assert (refused.status, refused.error["code"]) == (503, "no_permitted_deployment")  # disabled, no key
    environ = {"POOL_BASE": f"{places['two'].url}/v1", "AZURE_API_BASE": "https://azure.invalid"}
    (tmp_path / "clouds").mkdir()
    async with _serving(imported["clouds"], tmp_path / "clouds", environ) as world:
        answer = await world.chat(model="pool", stream=True, headers=_CALLER)
        assert (answer.deployment, answer.whole) == ("qwen3-32b", True)
