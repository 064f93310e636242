"""Images by URL, at a provider that wants their bytes: fetched from where it is allowed, and from nowhere else."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.adapters.anthropic_wire import PNG
from tests.fakes.ollama import FakeOllama
from tests.stories.house import Answer, Place, World

HERE = {"allow_http": True, "allow_private": ["127.0.0.0/8"], "timeout": "2s"}


class Store:
    """Serves one image, and keeps what it was asked."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.port = 0
        self.answer = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n\r\n" + base64.b64decode(PNG)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/a.png"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = Store()
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0)
    store.port = server.sockets[0].getsockname()[1]
    yield store
    server.close()


async def look(world: World, fake: FakeOllama, url: str, media: dict[str, Any], **more: Any) -> Answer:
    provider = {"kind": "ollama_native", "base_url": fake.url, "location": "self_hosted", "retention": "none"}
    place = Place(provider, {"model": "demo", "price": "free"})
    await world.serve({"only": place}, media=media)
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "chat", "messages": [{"role": "user", "content": content}], **more}
    return await world.post("/v1/chat/completions", body, {"authorization": "Bearer callers-own"})


@pytest.mark.parametrize("stream", [False, True])
async def test_an_image_is_fetched_and_sent_as_bytes(world: World, store: Store, stream: bool) -> None:
    async with FakeOllama() as fake:
        got = await look(world, fake, store.url, HERE, stream=stream)
        assert got.status == 200
        assert fake.asked[-1].body["messages"][0]["images"] == [PNG]
        assert len(store.heads) == 1
        assert b"authorization" not in store.heads[0].lower()
        assert b"callers-own" not in store.heads[0]


async def test_nobody_is_led_inside(world: World, store: Store) -> None:
    async with FakeOllama() as fake:
        for url in (
            store.url,
            f"http://localhost:{store.port}/a.png",
            f"http://2130706433:{store.port}/a.png",
            f"http://[::ffff:127.0.0.1]:{store.port}/a.png",
            "http://169.254.169.254/latest/meta-data/",
        ):
            got = await look(world, fake, url, {"allow_http": True})
            assert (got.status, got.error["code"], got.error["param"]) == (400, "invalid_media_url", "messages")
            assert (await world.receipt(got.id))["status"] == 400
        assert not fake.asked
    assert not store.heads


async def test_what_is_not_there_is_the_callers_error(world: World, store: Store) -> None:
    store.answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 11\r\n\r\nsecret page"
    async with FakeOllama() as fake:
        got = await look(world, fake, store.url, HERE)
        assert (got.status, got.error["code"]) == (400, "invalid_media_url")
        assert "answers 404" in got.error["message"]
        assert "secret" not in got.text
        assert not fake.asked
