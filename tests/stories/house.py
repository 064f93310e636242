"""A gateway as a process of its own, and a world around it: providers in the test's loop, real sockets in between."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from gateway.simulator import Simulator
from tests.patience import until

ROOT = Path(__file__).parents[2]
ADMIN_KEY = "hg-admin-of-the-stories"
LEVELS = ["public", "internal", "confidential", "restricted"]
CHAT = "/v1/chat/completions"
DONE = "[DONE]"
NO_TLS = False  # as httpx's `verify`: loading the authorities takes 50 ms, and every story has a client of its own

Config = dict[str, Any]

_serial = itertools.count()


class House:
    """One gateway process, the folder it works in, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "config.yaml"
        self.url = ""
        self.said: list[str] = []
        self.log: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def database(self) -> Path:
        return self.folder / "headgate.db"

    def write(self, config: Config) -> None:
        """Writes a config; JSON is YAML. What is read at the start only stands in every one."""
        fixed = {
            "store": {"url": f"sqlite:///{self.database}", "journal": str(self.folder / "journal")},
            "telemetry": {"logs": "json"},
        }
        written = self.path.with_suffix(".new")
        written.write_text(json.dumps(fixed | config, indent=1))
        written.replace(self.path)

    def start(
        self, config: Config | None = None, environ: Mapping[str, str] | None = None, host: str = "127.0.0.1"
    ) -> None:
        """Starts the gateway on a free port, and returns once it serves."""
        if config is not None:
            self.write(config)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--config", str(self.path), "--listen", f"{host}:0"],
            cwd=ROOT,
            env=_environ({"HEADGATE_ADMIN_KEY": ADMIN_KEY} | dict(environ or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        before = len(self.said)
        self._readers = [
            threading.Thread(target=_gather, args=(stream, lines), daemon=True)
            for stream, lines in ((self._process.stdout, self.said), (self._process.stderr, self.log))
        ]
        for reader in self._readers:
            reader.start()
        deadline = time.monotonic() + 60
        while not (serves := [line for line in self.said[before:] if " serves on " in line]):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the gateway did not start:\n{self.told}")
            time.sleep(0.005)
        self.url = serves[0].split(" serves on ")[1].split()[0]

    @property
    def told(self) -> str:
        """All that the process has said so far, for people."""
        return "".join(f"out: {line}\n" for line in self.said) + "".join(f"err: {line}\n" for line in self.log)

    def events(self, name: str, since: int = 0) -> list[dict[str, Any]]:
        """Returns the log's events of a name, of the lines from `since` on."""
        read = (json.loads(line) for line in self.log[since:] if line.startswith("{"))
        return [event for event in read if event.get("event") == name]

    def signal(self, number: signal.Signals) -> None:
        """Sends the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, within_s: float = 30.0) -> int:
        """Waits until the process has ended; returns its exit status."""
        assert self._process is not None
        status = self._process.wait(within_s)
        for reader in self._readers:
            reader.join()
        return status

    def kill(self) -> None:
        """Ends the process whatever it is at; nothing where it has ended."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    def stop(self) -> int:
        """Ends the process as an operator would; returns its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    async def reload(self, config: Config | None = None) -> int:
        """Has the running process take over a config, or its file as it is.

        Returns its revision, or fails with why it was refused.
        """
        since = len(self.log)
        if config is not None:
            self.write(config)
        self.signal(signal.SIGHUP)
        await until(lambda: self.events("config_applied", since) or self.events("config_refused", since))
        refused = self.events("config_refused", since)
        assert not refused, refused[0]["problems"]
        revision: int = self.events("config_applied", since)[0]["revision"]
        return revision


def command(*arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `headgate …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=ROOT,
        env=_environ(environ or {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _environ(more: Mapping[str, str]) -> dict[str, str]:
    """Returns this process's environment without credentials for real providers."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return kept | dict(more)


def _gather(stream: Any, lines: list[str]) -> None:
    lines.extend(line.rstrip("\n") for line in stream)  # line by line, as they come
    stream.close()


# -- configs ------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a deployment of a story stands: its provider and its own settings, as written in a config."""

    provider: Config
    deployment: Config


def at(
    simulator: Simulator | Sequence[Simulator],
    *,
    kind: str = "openai",
    keys: Sequence[str] = ("sk-upstream-secret",),
    location: str = "self_hosted",
    provider: Config | None = None,
    **deployment: Any,
) -> Place:
    """Returns a place at a simulator; at several, each is an endpoint of a vLLM pool."""
    where: Config
    if isinstance(simulator, Simulator):
        where = {"base_url": f"{simulator.url}/v1"}
    else:
        where = {"endpoints": [f"{each.url}/v1" for each in simulator]}
    if kind != "vllm":
        where["api_keys"] = list(keys)
    written = {"kind": kind, "location": location, "retention": "none", **where, **(provider or {})}
    return Place(written, {"model": "demo", "price": {"input": "1.00", "output": "4.00"}, **deployment})


def config_of(places: Mapping[str, Place], **sections: Any) -> Config:
    """Writes a config with one route, `chat`, that tries the places in their order.

    Providers get names that no story used before, since what is learned of one outlives a reload.
    """
    stories = next(_serial)
    providers = {f"{name}-{stories}": place.provider for name, place in places.items()}
    deployments = {name: {"provider": f"{name}-{stories}", **place.deployment} for name, place in places.items()}
    route: Config = {"name": "chat", "when": {"model": ["chat"]}, "among": list(places), "pick": "in_order"}
    if "on_failure" in sections:
        route["on_failure"] = sections.pop("on_failure")
    config: Config = {
        "auth": "open",
        "providers": providers,
        "deployments": deployments,
        "sensitivity": {
            "levels": LEVELS,
            "default": "internal",
            "clearance": {"self_hosted": "restricted", "eu": "confidential", "us": "internal"},
            "from": [
                {"header": "x-data-sensitivity"},
                {"key": "sensitivity"},
                {"detector": "pii", "level": "restricted"},
                {"terms": ["Project Falcon"], "level": "restricted"},
            ],
        },
        "policies": {"routes": [route] if places else []},
        "cache": {"at": "never"},
    }
    for name, section in sections.items():
        written = config.get(name)
        config[name] = {**written, **section} if isinstance(written, dict) else section
    return config


@asynccontextmanager
async def occupied(simulator: Simulator) -> AsyncIterator[None]:
    """Lets those who ask a provider wait for their turn until this ends: none of them is answered before."""
    simulator.max_running = 1
    asked = json.dumps(body_of(model="nobody!hang")).encode()
    _, writer = await asyncio.open_connection(simulator.host, simulator.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(asked), asked))
    await until(lambda: simulator.in_flight == 1)
    simulator.requests.pop()
    try:
        yield
    finally:
        writer.close()
        aborted = simulator.aborted
        await until(lambda: simulator.aborted > aborted)
        simulator.aborted = aborted
        simulator.max_running = None


@contextmanager
def held(simulator: Simulator) -> Iterator[None]:
    """Lets a provider say no more, as readers do who are slow, until this ends."""
    connections = list(simulator.connections)
    for connection in connections:
        connection.pause_writing()
    yield
    for connection in connections:
        connection.resume_writing()


# -- callers ------------------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What a caller got, read to its end."""

    status: int
    headers: httpx.Headers
    text: str

    @property
    def id(self) -> str:
        return self.headers["x-request-id"]

    @property
    def deployment(self) -> str:
        return self.headers["x-headgate-deployment"]

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> dict[str, Any]:
        """The error: of a body, or the last event of a stream."""
        told: dict[str, Any] = (self.events[-1] if self.text.startswith("data: ") else self.json)["error"]
        return told

    @property
    def events(self) -> list[Any]:
        """A stream's events; `[DONE]` as itself."""
        assert self.text.endswith("\n\n")
        data = [line.removeprefix("data: ") for line in self.text.split("\n") if line.startswith("data: ")]
        return [each if each == DONE else json.loads(each) for each in data]

    @property
    def content(self) -> str:
        """The words of an answer, in whichever form it came."""
        if not self.text.startswith("data: "):
            return str(self.json["choices"][0]["message"]["content"])
        chunks = [event for event in self.events if event != DONE and event.get("choices")]
        return "".join(chunk["choices"][0].get("delta", {}).get("content") or "" for chunk in chunks)

    @property
    def whole(self) -> bool:
        """Whether a stream ended as one that is whole."""
        events = self.events
        return events[-1] == DONE and any(
            event["choices"][0]["finish_reason"] for event in events[:-1] if event["choices"]
        )


def body_of(text: str = "Hello", *, model: str = "chat", stream: bool = False, **more: Any) -> Config:
    """Returns the body of a chat request."""
    return {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream, **more}


class World:
    """A house and what a story puts around it: providers, callers; all of it goes with the story."""

    def __init__(self, house: House) -> None:
        self.house = house
        limits = httpx.Limits(max_connections=None)
        self.http = httpx.AsyncClient(base_url=house.url, timeout=30, limits=limits, verify=NO_TLS)
        self._stack = AsyncExitStack()
        self._began = len(house.log)

    async def close(self) -> None:
        """Lets go of everything; fails where the gateway logged a defect meanwhile."""
        await self.http.aclose()
        await self._stack.aclose()
        defects = [line for line in self.house.log[self._began :] if "Traceback" in line or '"exception"' in line]
        assert not defects, "\n".join(defects)

    async def simulator(self, **settings: Any) -> Simulator:
        """Returns a provider that listens, with nothing wrong yet."""
        return await self._stack.enter_async_context(Simulator(**settings))

    async def serve(self, places: Mapping[str, Place], **sections: Any) -> int:
        """Has the house serve these places, in this order, as `chat`; returns the config's revision."""
        return await self.house.reload(config_of(places, **sections))

    async def chat(
        self,
        text: str = "Hello",
        *,
        headers: Mapping[str, str] | None = None,
        path: str = "/v1/chat/completions",
        **body: Any,
    ) -> Answer:
        """Asks once, and reads the answer to its end."""
        return await self.post(path, body_of(text, **body), headers)

    async def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Answer:
        """Sends JSON to a path."""
        got = await self.http.post(path, json=body, headers=headers)
        return Answer(got.status_code, got.headers, got.text)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Gets a path."""
        got = await self.http.get(path, headers=headers)
        return Answer(got.status_code, got.headers, got.text)

    @asynccontextmanager
    async def streaming(
        self, text: str = "Hello", *, headers: Mapping[str, str] | None = None, **body: Any
    ) -> AsyncIterator[httpx.Response]:
        """Opens a stream and hands out the response, its body unread."""
        asked = body_of(text, stream=True, **body)
        async with self.http.stream("POST", CHAT, json=asked, headers=headers) as response:
            yield response

    async def openai(self, **settings: Any) -> AsyncOpenAI:
        """Returns the official client, pointed at the house; it retries nothing by itself."""
        settings = {"api_key": "none", "max_retries": 0, "timeout": 30, **settings}
        http = DefaultAsyncHttpxClient(verify=NO_TLS)
        client = AsyncOpenAI(base_url=f"{self.house.url}/v1", http_client=http, **settings)
        return await self._stack.enter_async_context(client)

    async def receipt(self, id: str, *, left: bool = False) -> dict[str, Any]:
        """Returns a call's receipt, with the sentence that tells its decision.

        It is there when the answer is; where the caller left, nothing tells that it was written: it is waited for.
        """
        if left:
            await until(lambda: self._booked(id))
        got = await self.get(f"/admin/decisions/{id}")
        assert got.status == 200, got.text
        told = got.json
        return {**told["receipt"], "decision": told["decision"], "sentence": told["sentence"]}

    async def _booked(self, id: str) -> bool:
        return (await self.get(f"/admin/decisions/{id}")).status == 200

    async def queued(self, count: int) -> None:
        """Waits until that many calls wait to be let in."""

        async def waiting() -> bool:
            return await self.metric("headgate_queued") == count

        await until(waiting)

    async def metric(self, line: str) -> float:
        """Returns the value of one line of /metrics, 0 where it is not there."""
        page = (await self.get("/metrics")).text
        found = [each for each in page.splitlines() if each.startswith(line + " ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0
