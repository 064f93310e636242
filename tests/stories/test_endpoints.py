"""Moderations, images, audio and reranking through the door, as the official SDK asks for them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from gateway.simulator import Fault, Simulator
from gateway.simulator.media import form
from tests.patience import until
from tests.stories.house import World, at, body_of

EVERY = ["chat", "moderations", "images", "speech", "transcriptions", "rerank"]
SOUND = b"RIFF" + bytes(range(256)) * 40
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100


@pytest.fixture
async def provider(world: World) -> AsyncIterator[Simulator]:
    return await world.simulator()


async def client_of(world: World, provider: Simulator, **deployment: Any) -> AsyncOpenAI:
    """Serves one deployment with every endpoint, and returns a client."""
    kind = deployment.pop("kind", "openai")
    await world.serve({"only": at(provider, kind=kind, endpoints=EVERY, **deployment)})
    return await world.openai()


def sent(provider: Simulator) -> dict[str, Any]:
    """Returns what the provider was asked last: JSON, or a form's fields and files."""
    seen = provider.requests[-1]
    content_type = (seen.header(b"content-type") or b"").decode()
    if content_type.startswith("multipart/"):
        return form(seen.body, content_type)
    read: dict[str, Any] = json.loads(seen.body)
    return read


# -- each endpoint ------------------------------------------------------------------------------------------------


async def test_moderations(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    got = await client.moderations.with_raw_response.create(model="chat", input=["peace", "harm"])
    assert [result.flagged for result in got.parse().results] == [False, True]
    assert provider.requests[-1].path == "/v1/moderations"
    assert sent(provider) == {"model": "demo", "input": ["peace", "harm"]}
    receipt = await world.receipt(got.headers["x-request-id"])
    assert (receipt["endpoint"], receipt["dialect"], receipt["status"]) == ("moderations", "moderations", 200)
    assert receipt.get("cost_nano") is None  # no tokens are told, and a price per token says nothing of it


async def test_images(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, price={"input": "5.00", "output": "40.00", "image_input": "10.00"})
    got = await client.images.with_raw_response.generate(model="chat", prompt="a gate", n=2)
    answer = got.parse()
    assert answer.data is not None
    assert [base64.b64decode(image.b64_json or "")[:4] for image in answer.data] == [b"\x89PNG"] * 2
    receipt = await world.receipt(got.headers["x-request-id"])
    assert receipt["endpoint"] == "images"
    assert receipt["tokens"] == {"fresh_input": 2, "output_text": 200}
    assert receipt["cost_nano"] == 2 * 5000 + 200 * 40_000


async def test_an_edit_of_images_that_are_sent(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, price={"input": "5.00", "output": "40.00", "image_input": "10.00"})
    got = await client.images.with_raw_response.edit(
        model="chat", prompt="more water", image=[("a.png", PNG), ("b.png", PNG)], n=1
    )
    assert got.parse().data
    asked = sent(provider)
    assert (asked["model"], asked["prompt"], asked["image[]"]) == ("demo", "more water", PNG)
    receipt = await world.receipt(got.headers["x-request-id"])
    assert (receipt["endpoint"], receipt["dialect"]) == ("images", "image_edits")
    assert receipt["tokens"]["image_input"] == 85


async def test_an_edit_of_images_that_are_named(world: World, provider: Simulator) -> None:
    await client_of(world, provider)
    body = {"model": "chat", "prompt": "more water", "images": [{"image_url": "https://images.example/a.png"}]}
    got = await world.post("/v1/images/edits", body)
    assert got.status == 200
    assert sent(provider) == body | {"model": "demo"}


async def test_a_variation_of_an_image(world: World, provider: Simulator) -> None:
    await client_of(world, provider)  # the SDK has deprecated it
    got = await world.http.post("/v1/images/variations", data={"model": "chat"}, files={"image": ("a.png", PNG)})
    assert got.json()["data"]
    assert provider.requests[-1].path == "/v1/images/variations"


async def test_images_as_they_are_drawn(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    stream = await client.images.generate(model="chat", prompt="a gate", stream=True, partial_images=1)
    events = [event async for event in stream]
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]
    assert "stream_options" not in sent(provider)
    receipt = await world.receipt(stream.response.headers["x-request-id"])
    assert receipt["tokens"] == {"fresh_input": 2, "output_text": 100}
    assert receipt["stream"]


async def test_speech_comes_as_it_is_made(world: World, provider: Simulator) -> None:
    provider.tpot_s = 0.02
    client = await client_of(world, provider, price={"input": "0", "output": "0", "per_request": "0.015"})
    pieces = []
    async with client.audio.speech.with_streaming_response.create(
        model="chat", voice="alloy", input="the gate lifts the flow", response_format="opus"
    ) as got:
        async for piece in got.iter_bytes(1024):
            pieces.append(piece)
            if len(pieces) == 1:
                assert provider.answered == 0  # the rest is still being made
    assert len(b"".join(pieces)) == 5 * 4096
    assert got.headers["content-type"] == "audio/opus"
    receipt = await world.receipt(got.headers["x-request-id"])
    assert (receipt["endpoint"], receipt["cost_nano"], receipt.get("tokens")) == ("speech", 15_000_000, None)


async def test_speech_in_events(world: World, provider: Simulator) -> None:
    await client_of(world, provider, price={"input": "1.00", "output": "2.00", "audio_output": "12.00"})
    body = {"model": "chat", "voice": "alloy", "input": "the gate", "stream_format": "sse"}
    got = await world.post("/v1/audio/speech", body)
    assert [event["type"] for event in got.events] == ["speech.audio.delta"] * 2 + ["speech.audio.done"]
    receipt = await world.receipt(got.id)
    assert receipt["tokens"] == {"fresh_input": 2, "audio_output": 2}
    assert receipt["cost_nano"] == 2 * 1000 + 2 * 12_000


@pytest.mark.parametrize("size", [1_000, 3_000_000])
async def test_a_transcription(world: World, provider: Simulator, size: int) -> None:
    client = await client_of(world, provider, price={"input": "2.00", "output": "10.00", "audio_input": "6.00"})
    sound = SOUND[:7] * (size // 7)
    got = await client.audio.transcriptions.with_raw_response.create(
        model="chat", file=("a.wav", sound), language="en", prompt="of gates"
    )
    assert got.parse().text.startswith("the")  # type: ignore[union-attr]
    asked = sent(provider)
    assert asked == {"model": "demo", "language": "en", "prompt": "of gates", "file": sound}
    receipt = await world.receipt(got.headers["x-request-id"])
    assert (receipt["endpoint"], receipt["dialect"], receipt["status"]) == ("transcriptions", "transcriptions", 200)
    assert receipt["tokens"]["audio_input"] == len(sound) // 100
    assert receipt["cost_nano"] == sum(receipt["cost"].values())


@pytest.mark.parametrize("shape", ["text", "srt", "vtt"])
async def test_a_transcription_that_is_no_json(world: World, provider: Simulator, shape: Any) -> None:
    client = await client_of(world, provider)
    got = await client.audio.transcriptions.create(model="chat", file=("a.wav", SOUND), response_format=shape)
    assert str(got).startswith("the gate")
    raw = await client.audio.transcriptions.with_raw_response.create(
        model="chat", file=("a.wav", SOUND), response_format=shape
    )
    assert not raw.headers["content-type"].startswith("application/json")


async def test_a_transcription_billed_by_the_second_has_no_price_per_token(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, model="whisper-1")
    got = await client.audio.transcriptions.with_raw_response.create(model="chat", file=("a.wav", SOUND))
    receipt = await world.receipt(got.headers["x-request-id"])
    assert (receipt.get("cost_nano"), receipt.get("tokens")) == (None, None)
    assert receipt["raw_usage"] == {"type": "duration", "seconds": 7}


async def test_a_transcription_in_events(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    stream = await client.audio.transcriptions.create(model="chat", file=("a.wav", SOUND), stream=True)
    events = [event async for event in stream]
    assert events[-1].type == "transcript.text.done"
    assert len(events) > 5


async def test_a_model_that_does_not_stream_answers_in_one_piece(world: World, provider: Simulator) -> None:
    await client_of(world, provider, model="whisper-1")
    got = await world.http.post(
        "/v1/audio/transcriptions", data={"model": "chat", "stream": "true"}, files={"file": ("a.wav", SOUND)}
    )
    assert got.status_code == 200
    assert got.headers["content-type"] == "application/json"
    assert got.json()["text"]


async def test_a_translation(world: World, provider: Simulator) -> None:
    await client_of(world, provider)  # the SDK has deprecated it
    got = await world.http.post("/v1/audio/translations", data={"model": "chat"}, files={"file": ("a.wav", SOUND)})
    assert got.json()["text"]
    assert provider.requests[-1].path == "/v1/audio/translations"
    assert (await world.receipt(got.headers["x-request-id"]))["dialect"] == "translations"


async def test_reranking(world: World, provider: Simulator) -> None:
    await world.serve({"only": at(provider, kind="vllm", endpoints=["rerank"])})
    body = {
        "model": "chat",
        "query": "a gate",
        "documents": ["a river", "a gate", {"text": "gate of a mill"}],
        "top_n": 2,
    }
    got = await world.post("/v1/rerank", body)
    assert [each["index"] for each in got.json["results"]] == [1, 2]
    assert sent(provider) == body | {"model": "demo"}
    receipt = await world.receipt(got.id)
    assert receipt["endpoint"] == "rerank"
    assert receipt["cost_nano"] == receipt["tokens"]["fresh_input"] * 1000


# -- what routing and the house's rules make of them --------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/moderations", {"input": "x"}),
        ("/v1/images/generations", {"prompt": "x"}),
        ("/v1/audio/speech", {"input": "x", "voice": "alloy"}),
        ("/v1/rerank", {"query": "x", "documents": ["y"]}),
    ],
)
async def test_a_chat_model_is_never_asked_for_what_it_does_not_list(
    world: World, provider: Simulator, path: str, body: dict[str, Any]
) -> None:
    await world.serve({"only": at(provider)})
    got = await world.post(path, {"model": "chat", **body})
    assert (got.status, got.error["code"]) == (400, "unsupported_capability")
    assert not provider.requests


async def test_auto_finds_the_one_that_transcribes(world: World) -> None:
    talks, hears = await world.simulator(), await world.simulator()
    route = {"name": "all", "when": {"model": ["auto"]}, "among": ["talks", "hears"], "pick": "in_order"}
    await world.serve(
        {"talks": at(talks), "hears": at(hears, endpoints=["transcriptions"])}, policies={"routes": [route]}
    )
    client = await world.openai()
    got = await client.audio.transcriptions.with_raw_response.create(model="auto", file=("a.wav", SOUND))
    assert got.headers["x-headgate-deployment"] == "hears"
    unnamed = await world.http.post("/v1/audio/transcriptions", files={"file": ("a.wav", SOUND)})
    assert unnamed.headers["x-headgate-deployment"] == "hears"
    assert sent(hears) == {"model": "demo", "file": SOUND}
    assert not talks.requests


async def test_files_are_media_and_stay_where_media_may_go(world: World) -> None:
    abroad, own = await world.simulator(), await world.simulator()
    places = {
        "abroad": at(abroad, location="us", endpoints=EVERY),
        "own": at(own, location="self_hosted", endpoints=EVERY),
    }
    await world.serve(places, sensitivity={"media": "restricted"})
    client = await world.openai()
    heard = await client.audio.transcriptions.with_raw_response.create(model="chat", file=("a.wav", SOUND))
    assert heard.headers["x-headgate-deployment"] == "own"
    receipt = await world.receipt(heard.headers["x-request-id"])
    assert (receipt["sensitivity"], receipt["decision"]["causes"]) == ("restricted", ["media"])
    said = await client.audio.speech.with_raw_response.create(model="chat", voice="alloy", input="hello")
    assert said.headers["x-headgate-deployment"] == "abroad"
    with pytest.raises(openai.PermissionDeniedError) as refused:
        await client.audio.transcriptions.create(model="abroad", file=("a.wav", SOUND))
    assert refused.value.code == "no_permitted_deployment"
    assert len(abroad.requests) == 1


async def test_a_url_of_an_image_is_media_before_anything_is_fetched(world: World) -> None:
    abroad, own = await world.simulator(), await world.simulator()
    await world.serve(
        {"abroad": at(abroad, location="us"), "own": at(own, location="self_hosted")},
        sensitivity={"media": "restricted"},
    )
    content = [{"type": "image_url", "image_url": {"url": "https://images.example/a.png"}}]
    got = await world.post(
        "/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": content}]}
    )
    assert got.deployment == "own"
    assert not abroad.requests


async def test_what_a_form_says_is_read_by_detectors_wherever_it_stands(world: World) -> None:
    abroad, own = await world.simulator(), await world.simulator()
    await world.serve(
        {"abroad": at(abroad, location="us", endpoints=EVERY), "own": at(own, endpoints=EVERY)},
    )
    told = {"model": "chat", "prompt": "of Project Falcon"}
    got = await world.http.post("/v1/audio/transcriptions", data=told, files={"file": SOUND * 200})
    assert got.headers["x-headgate-deployment"] == "own"
    late = form_of(("model", b"chat"), ("file", SOUND * 200, "a.wav"), ("prompt", b"of Project Falcon"))
    got = await world.http.post("/v1/audio/transcriptions", content=late, headers=FORM)
    assert (got.status_code, got.json()["error"]["code"]) == (403, "no_permitted_deployment")
    await until(lambda: abroad.in_flight == 0)
    assert not abroad.requests  # its last boundary never left: nobody could read it as a request
    receipt = await world.receipt(got.headers["x-headgate-decision"])
    assert receipt["status"] == 403
    assert "behind the file" in receipt["refusal"]


async def test_a_form_takes_a_key_and_is_held_to_its_models(world: World, provider: Simulator) -> None:
    hashed = f"sha256:{hashlib.sha256(b'hg-narrow').hexdigest()}"
    key = {"name": "narrow", "hash": hashed, "models": ["other"]}
    places = {"only": at(provider, endpoints=EVERY), "other": at(provider, endpoints=EVERY)}
    await world.serve(places, auth="keys", keys=[key])
    for headers, model, status in (
        ({}, "other", 401),
        ({"authorization": "Bearer hg-narrow"}, "only", 403),
        ({"authorization": "Bearer hg-narrow"}, "other", 200),
    ):
        got = await world.http.post(
            "/v1/audio/transcriptions", data={"model": model}, files={"file": SOUND}, headers=headers
        )
        assert got.status_code == status
    assert len(provider.requests) == 1


# -- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["429", "500", "reset", "content-type", "error"])
async def test_what_is_small_goes_to_the_next(world: World, fault: str) -> None:
    first, second = await world.simulator(), await world.simulator()
    first.script.extend([Fault(fault)] * 2)
    await world.serve({"first": at(first, endpoints=EVERY), "second": at(second, endpoints=EVERY)})
    client = await world.openai()
    got = await client.audio.transcriptions.with_raw_response.create(model="chat", file=("a.wav", SOUND))
    assert got.headers["x-headgate-deployment"] == "second"
    assert sent(second)["file"] == SOUND


async def test_a_refusal_is_the_providers_own(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    with pytest.raises(openai.BadRequestError) as refused:
        await client.images.edit(model="only", image=PNG, prompt="x", extra_body={"n": 0})
    assert refused.value.param == "n"
    provider.script.append(Fault("400", message="No such voice."))
    with pytest.raises(openai.BadRequestError, match="No such voice"):
        await client.audio.speech.create(model="chat", voice="nobody", input="x")


async def test_sound_that_is_cut_is_never_taken_for_whole(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    provider.script.append(Fault("cut", after=2))
    with pytest.raises((httpx.TransportError, openai.APIConnectionError, Exception)) as cut:
        await client.audio.speech.create(model="chat", voice="alloy", input="the gate lifts the flow")
    assert "peer closed" in repr(cut.value) or "Connection" in repr(cut.value) or "ReadError" in repr(cut.value)


async def test_events_that_are_cut_end_in_an_error(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    provider.script.append(Fault("no-finish"))
    stream = await client.audio.transcriptions.create(model="chat", file=("a.wav", SOUND), stream=True)
    with pytest.raises(openai.APIError) as error:
        async for _ in stream:
            pass
    assert error.value.code == "upstream_stream_cut"


@pytest.mark.parametrize(
    ("form", "code"),
    [
        (b"", "invalid_form"),
        (b"--x\r\n", "invalid_form"),
        (b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nchat\r\n--x\r\n', "invalid_form"),
    ],
)
async def test_a_form_that_is_none_is_refused(world: World, provider: Simulator, form: bytes, code: str) -> None:
    await client_of(world, provider)
    got = await world.http.post(
        "/v1/audio/transcriptions", content=form, headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert (got.status_code, got.json()["error"]["code"]) == (400, code)
    json_instead = await world.post("/v1/audio/transcriptions", {"model": "chat"})
    assert json_instead.status == 400
    assert not provider.requests


# -- large files --------------------------------------------------------------------------------------------------

FORM = {"content-type": "multipart/form-data; boundary=4b1d"}


def form_of(*parts: tuple[Any, ...]) -> bytes:
    """Writes a form: (name, value) is a field, (name, content, filename) a file."""
    written = b""
    for name, value, *filename in parts:
        file = f'; filename="{filename[0]}"' if filename else ""
        written += f'--4b1d\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"
    return written + b"--4b1d--\r\n"


class Listener:
    """A provider that reads a request as slowly as it is told, and says what came."""

    def __init__(self) -> None:
        self.received = 0
        self.ended = asyncio.Event()
        self.go = asyncio.Event()
        self.reads_until = 2**40
        self.closes_at = 2**40
        self.heads: list[bytes] = []
        self.port = 0
        self.tail = b""

    async def listen(self) -> asyncio.Server:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # else the kernel takes many megabytes for it
        raw.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(self._serve, sock=raw, limit=65536)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            while not self.tail.rstrip(b"\r\n0").endswith(b"--4b1d--"):
                if self.received >= self.reads_until:
                    await self.go.wait()
                if self.received >= self.closes_at:
                    return
                data = await reader.read(65536)
                if not data:
                    return
                self.received += len(data)
                self.tail = (self.tail + data)[-64:]
            writer.write(
                b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{"text":"ok"}'
            )
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.ended.set()
            writer.close()


@pytest.fixture
async def listener(world: World) -> AsyncIterator[Listener]:
    listener = Listener()
    server = await listener.listen()
    place = at(await world.simulator(), endpoints=EVERY)
    place.provider["base_url"] = f"http://127.0.0.1:{listener.port}/v1"
    await world.serve({"only": place}, on_failure={"attempts": 3})
    yield listener
    listener.go.set()
    server.close()


def resident_kib(world: World) -> int:
    with open(f"/proc/{world.house.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


MANY = 30_000_000
BEGIN = form_of(("model", b"chat"), ("file", b"", "a.wav")).removesuffix(b"\r\n--4b1d--\r\n")
END = b"\r\n--4b1d--\r\n"


async def pieces(count: int, size: int = 100_000) -> AsyncIterator[bytes]:
    yield BEGIN
    for _ in range(count):
        yield b"x" * size
    yield END


@pytest.mark.parametrize("told", [True, False])
async def test_a_large_file_goes_through_and_is_never_held(world: World, listener: Listener, told: bool) -> None:
    before = resident_kib(world)
    listener.reads_until = 1_000_000
    headers = dict(FORM)
    if told:
        headers["content-length"] = str(len(BEGIN) + MANY + len(END))
    sent_bytes = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent_bytes
        async for piece in pieces(MANY // 100_000):
            yield piece
            sent_bytes += len(piece)

    asked = asyncio.create_task(world.http.post("/v1/audio/transcriptions", content=body(), headers=headers))
    await until(lambda: listener.received >= listener.reads_until)
    stalled = -1
    while stalled != sent_bytes:  # until the caller cannot send any more
        stalled = sent_bytes
        await asyncio.sleep(0.2)
    assert sent_bytes < MANY - 5_000_000  # what a slow provider does not take holds its caller back
    assert resident_kib(world) - before < 8_000
    listener.go.set()
    got = await asked
    assert got.json() == {"text": "ok"}
    length = len(form_of(("model", b"demo"), ("file", b"", "a.wav"))) + MANY
    if told:
        assert b"content-length: %d\r\n" % length in listener.heads[0]
        assert listener.received == length
    else:
        assert b"transfer-encoding: chunked\r\n" in listener.heads[0]
    assert resident_kib(world) - before < 8_000


async def test_a_caller_that_leaves_in_mid_upload_ends_it(world: World, listener: Listener) -> None:
    hold = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        async for piece in pieces(5):
            if piece == END:
                await hold.wait()
            yield piece

    asked = asyncio.create_task(world.http.post("/v1/audio/transcriptions", content=body(), headers=FORM))
    await until(lambda: listener.received > 500_000)
    asked.cancel()
    await asyncio.wait_for(listener.ended.wait(), 10)
    assert not listener.tail.endswith(b"--4b1d--\r\n")
    found: list[dict[str, Any]] = []

    async def booked() -> bool:
        costs = (await world.get("/admin/costs?group_by=route&since=1m")).json
        found[:] = costs["rows"]
        return sum(row["errors"] for row in found) > 0 if found else False

    await until(booked)
    assert await world.metric("headgate_in_flight") == 0


async def test_a_provider_that_dies_in_mid_upload_is_not_asked_again(world: World, listener: Listener) -> None:
    listener.closes_at = 300_000
    got = await world.http.post("/v1/audio/transcriptions", content=pieces(40), headers=FORM)
    assert got.status_code == 502
    assert got.json()["error"]["code"] == "upstream_unreachable"
    assert len(listener.heads) == 1
    receipt = await world.receipt(got.headers["x-request-id"])
    assert [line["reason"] for line in receipt["attempts"]] == ["connect"]


async def test_a_provider_that_cannot_be_reached_costs_the_upload_nothing(world: World) -> None:
    gone, stands = await world.simulator(), await world.simulator()
    await gone.refuse()
    await world.serve({"gone": at(gone, endpoints=EVERY), "stands": at(stands, endpoints=EVERY)})
    got = await world.http.post("/v1/audio/transcriptions", content=pieces(20), headers=FORM)
    assert got.status_code == 200
    assert got.headers["x-headgate-deployment"] == "stands"
    assert len(sent(stands)["file"]) == 2_000_000


async def test_an_answer_that_comes_before_the_upload_is_over(world: World) -> None:
    early, other = await world.simulator(), await world.simulator()
    early.script.append(Fault("early", status=429))
    await world.serve({"early": at(early, endpoints=EVERY), "other": at(other, endpoints=EVERY)})
    got = await world.http.post("/v1/audio/transcriptions", content=pieces(50), headers=FORM)
    assert got.status_code in (200, 429)  # 429 where some of the upload had gone out by then: it is not there again
    if got.status_code == 429:
        assert not other.requests


async def test_an_upload_waits_for_its_slot_as_every_call_does(world: World, listener: Listener) -> None:
    config = json.loads(world.house.path.read_text())
    config["deployments"]["only"]["in_flight"] = 1
    await world.house.reload(config)
    listener.reads_until = 100_000
    first, second = (
        asyncio.create_task(world.http.post("/v1/audio/transcriptions", content=pieces(30), headers=FORM))
        for _ in range(2)
    )
    await world.queued(1)
    assert len(listener.heads) == 1
    listener.go.set()
    await first
    await until(lambda: len(listener.heads) == 2)
    second.cancel()


async def test_two_at_once_do_not_mix(world: World, provider: Simulator) -> None:
    await world.serve({"only": at(provider, endpoints=EVERY)})

    async def upload(mark: bytes) -> None:
        body = form_of(("model", b"chat"), ("prompt", mark), ("file", mark * 2_000_000, "a.wav"))
        got = await world.http.post("/v1/audio/transcriptions", content=body, headers=FORM)
        assert got.status_code == 200

    await asyncio.gather(*(upload(mark) for mark in (b"a", b"b", b"c")))
    for seen in provider.requests:
        asked = form(seen.body, "boundary=4b1d")
        assert set(asked["file"]) == set(asked["prompt"].encode())


async def test_a_model_that_stands_behind_its_file_is_waited_for(world: World, provider: Simulator) -> None:
    await world.serve({"only": at(provider, endpoints=EVERY)})
    body = form_of(("file", b"x" * 3_000_000, "a.wav"), ("model", b"chat"), ("language", b"en"))
    got = await world.http.post("/v1/audio/transcriptions", content=body, headers=FORM)
    assert got.status_code == 200
    assert sent(provider) == {"file": b"x" * 3_000_000, "model": "demo", "language": "en"}


async def test_a_form_past_the_limit_is_refused_as_soon_as_it_is(world: World, listener: Listener) -> None:
    told = {**FORM, "content-length": str(len(BEGIN) + 42_000_000 + len(END))}
    got = await world.http.post("/v1/audio/transcriptions", content=pieces(420), headers=told)
    assert (got.status_code, got.json()["error"]["code"]) == (413, "request_too_large")
    assert not listener.heads


async def test_a_second_model_behind_the_file_never_arrives(world: World, listener: Listener) -> None:
    body = form_of(("model", b"chat"), ("file", b"x" * 2_000_000, "a.wav"), ("model", b"other"))
    got = await world.http.post("/v1/audio/transcriptions", content=body, headers=FORM)
    assert (got.status_code, got.json()["error"]["code"]) == (400, "invalid_form")
    assert b"other" not in listener.tail


async def test_a_page_of_another_site_sends_no_form_to_an_open_door(world: World, provider: Simulator) -> None:
    await world.serve({"only": at(provider, endpoints=EVERY)})
    for header in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        got = await world.http.post(
            "/v1/audio/transcriptions", data={"model": "chat"}, files={"file": SOUND}, headers=header
        )
        assert (got.status_code, got.json()["error"]["code"]) == (403, "open_door_refused")
    got = await world.http.post("/v1/chat/completions", data=body_of(), headers={"host": "127.0.0.1"})
    assert got.status_code == 403
    assert not provider.requests


async def test_the_admin_surface_tells_what_becomes_of_what(world: World, provider: Simulator) -> None:
    await world.serve({"only": at(provider, kind="vllm", endpoints=EVERY)})
    got = await world.get("/admin/providers")
    rows = {row["kind"]: row for row in got.json["kinds"]}
    assert [name.partition("-")[0] for name in rows["vllm"]["providers"]] == ["only"]
    assert rows["vllm"]["dialects"]["rerank"] == "relayed"
    assert rows["anthropic"]["dialects"] == {"chat": "translated", "responses": "translated", "messages": "relayed"}
    assert rows["anthropic"]["features"]["n"]["way"] == "refused"
    assert (await world.get("/admin/providers", {"authorization": "Bearer wrong"})).status == 401
