"""The simulator: where it listens, who may run, what was asked of it, and what answers."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal, NamedTuple, Self

import msgspec

from gateway.core.blocks import Json
from gateway.simulator import anthropic, gemini, openai, responses, vllm, vllm_engine
from gateway.simulator.answers import Answer, Ask, answer, count, ended
from gateway.simulator.connection import Begin, Connection, Seen
from gateway.simulator.faults import Fault
from gateway.simulator.media import ENDPOINTS, form
from gateway.simulator.orders import Orders
from gateway.simulator.play import (
    MESSAGES,
    PACED_S,
    End,
    Refused,
    Reply,
    Step,
    aborting,
    failing,
    perform,
    plain,
    refusal,
)
from gateway.simulator.replica import Hardware, Sequence
from gateway.simulator.vllm_engine import Driver
from gateway.simulator.wire import Wire

_ASIDE: Final = frozenset({*gemini.EMBED, gemini.COUNT})  # methods that no model answers
_KEPT_REQUESTS: Final = 1000
_KEPT_BYTES: Final = 64 * 1024 * 1024
_MARKED_PREFIXES: Final = 1024


class Planned(NamedTuple):
    """An answer that waits until the engine has come to it."""

    wire: Wire
    ask: Ask
    answers: list[Answer]
    fault: Fault | None
    serial: int
    sequence: Sequence


class Simulator:
    """A provider on a socket, with a script of faults.

    `async with Simulator() as simulator` listens on a free loopback port, `simulator.url`. `script` holds what the
    next requests for an answer get, in order (None is a fine one); `faults` the same by model, or by path for those
    without a model ("/health"). Both come before faults that a request names itself. `requests` are the last ones.
    With `hardware`, vLLM's wire takes its pace, its queue and its cache from a modelled engine.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        wire: Literal["openai", "vllm"] = "openai",
        models: tuple[str, ...] = ("demo",),
        ttft_s: float = 0.002,
        tpot_s: float = 0.0,
        max_running: int | None = None,
        max_queued: int | None = None,
        keep_alive_s: float = 75.0,
        hardware: Hardware | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.wire = wire
        self.models = models
        self.ttft_s = ttft_s
        self.tpot_s = tpot_s
        self.max_running = max_running
        self.max_queued = max_queued  # as vLLM's --max-num-queued-reqs: waiting and running together
        self.keep_alive_s = keep_alive_s
        self.tls = tls
        self._orders = Orders()
        self.script, self.faults = self._orders.script, self._orders.faults
        self.requests: deque[Seen] = deque(maxlen=_KEPT_REQUESTS)
        self.accepted = 0  # connections, ever
        self.answered = 0  # answers that left whole
        self.aborted = 0  # answers whose reader went away
        self.born_at = time.time()
        self.metrics = vllm.Metrics()
        self.cache = vllm.PrefixCache()
        self.connections: set[Connection] = set()
        self.dead = False
        self.draining = False  # what comes now is answered at once with finish `abort`
        self._running = 0
        self.driver = Driver(hardware) if hardware is not None else None
        self._planned: dict[int, Planned] = {}  # by the id of a reply that waits for the engine
        self._placed: dict[Begin, Planned] = {}
        self._waiting: deque[tuple[Begin, list[Step], Reply]] = deque()
        self._marked: OrderedDict[str, None] = OrderedDict()
        self._kept_bytes = 0
        self._serial = 0
        self._server: asyncio.Server | None = None
        self._responses = responses.Responses()
        chat, completions = (openai.Chat(), openai.Completions())
        if wire == "vllm":
            chat, completions = (vllm.VllmChat(), vllm.VllmCompletions())
        self._wires: dict[str, Wire] = {
            "/chat/completions": chat,
            "/completions": completions,
            "/messages": anthropic.Messages(),
            "/responses": self._responses,
        }
        generate = gemini.Generate()
        self._methods: dict[str, Wire] = {gemini.GENERATE: generate, gemini.STREAM: generate}
        self._methods |= dict.fromkeys(gemini.PARTNERS, self._wires["/messages"])
        self._chat: Wire = chat

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http{'s' if self.tls else ''}://{self.host}:{self.port}"

    @property
    def in_flight(self) -> int:
        """Answers that have begun or wait for their turn."""
        return self._running + len(self._waiting) + len(self._placed)

    @property
    def pace_s(self) -> float:
        """How long a modelled engine takes for a token now."""
        return self.driver.pace_s if self.driver is not None else 0.0

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def listen(self, bound: socket.socket | None = None) -> None:
        """Listens, again on the same port after `refuse`; or on a socket that is bound already."""
        loop = asyncio.get_running_loop()
        if bound is not None and bound.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(lambda: Connection(self), sock=bound)
            return
        where = {"sock": bound} if bound is not None else {"host": self.host, "port": self.port, "reuse_address": True}
        self._server = await loop.create_server(lambda: Connection(self), ssl=self.tls, backlog=1024, **where)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Stops listening, so that connecting is refused; open connections go on."""
        if self._server is not None:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Stops listening and drops every connection."""
        await self.refuse()
        if self.driver is not None:
            self.driver.close()
        for connection in tuple(self.connections):
            connection.drop()
        await asyncio.sleep(0)

    def die(self) -> None:
        """The engine is dead and its server lives on: /health says 503, answers under way break off in-band."""
        self.dead = True
        self.break_off()

    def give_up(self) -> None:
        """Ends every answer under way with finish `abort`, as vLLM does when it is told to stop."""
        for begin, planned in tuple(self._placed.items()):
            if self.driver is not None and self.driver.withdraw(planned.sequence):
                none = [ended(one, "abort", 0) for one in planned.answers]
                reply = planned.wire.reply(planned.ask, none, 0, planned.serial)
                begin(perform(reply, None, 0.0, 0.0), reply)
        for connection in tuple(self.connections):
            connection.cut_short(aborting)

    def break_off(self) -> None:
        """Ends every answer under way with an error."""
        for begin, planned in tuple(self._placed.items()):
            if self.driver is not None and self.driver.withdraw(planned.sequence):
                reply = planned.wire.reply(planned.ask, planned.answers, 0, planned.serial)
                begin(self._refused(planned.wire, Refused(500, MESSAGES[500])), reply)
        for connection in tuple(self.connections):
            connection.cut_short(failing)

    def reset(self) -> None:
        """Forgets faults, requests and counts."""
        self._orders.clear()
        self.requests.clear()
        self._kept_bytes = 0
        self.accepted = self.answered = self.aborted = 0

    # -- what a connection asks ----------------------------------------------------------------------------------

    def keep(self, seen: Seen) -> None:
        """Records a request, within bounds of number and bytes; not who looks at its metrics and health."""
        if seen.path in ("/metrics", "/health"):
            return
        if len(self.requests) == self.requests.maxlen:
            self._kept_bytes -= len(self.requests[0].body)
        self.requests.append(seen)
        self._kept_bytes += len(seen.body)
        while self._kept_bytes > _KEPT_BYTES and len(self.requests) > 1:
            self._kept_bytes -= len(self.requests.popleft().body)

    def early(self, headers: list[tuple[bytes, bytes]]) -> list[Step] | None:
        """Returns the answer that does not wait for the request's body, where one was ordered."""
        fault = self._orders.early(headers)
        if fault is None:
            return None
        refused = refusal(fault)
        return None if refused is None else self._refused(self._chat, refused)

    def answer(self, seen: Seen) -> tuple[list[Step], Reply | None]:
        """Returns the steps that answer a request, and the reply where a model answers."""
        path = seen.path.partition("?")[0]
        wire = next((wire for suffix, wire in self._wires.items() if path.endswith(suffix)), None)
        model, method = gemini.called(path) or ("", "")
        if method:
            wire = self._methods.get(method, self._methods[gemini.GENERATE])
        media = next((make for suffix, make in ENDPOINTS.items() if path.endswith(suffix)), None)
        try:
            if media is not None and seen.method == "POST":
                return self._media(seen, media)
            if wire is None or seen.method != "POST" or method in _ASIDE or model == gemini.COUNTER:
                return self._aside(seen, path), None
            return self._ask(seen, wire, model, method)
        except Refused as refused:
            return self._refused(wire or self._chat, refused), None
        except (TypeError, AttributeError, KeyError, ValueError):
            return self._refused(wire or self._chat, Refused(400, "Invalid request: a field has the wrong type.")), None

    def admit(self, reply: Reply, steps: list[Step], begin: Begin) -> None:
        """Calls `begin` now, or when one of `max_running` places is free, or when the engine has come so far."""
        planned = self._planned.pop(id(reply), None)
        if planned is not None and self.driver is not None:
            self._submit(planned, begin, self.driver)
        elif self.max_running is not None and self._running >= self.max_running:
            self._waiting.append((begin, steps, reply))
        else:
            self._running += 1
            begin(steps, reply)

    def _submit(self, planned: Planned, begin: Begin, driver: Driver) -> None:
        ask, sequence = planned.ask, planned.sequence

        def ready() -> None:
            reply = planned.wire.reply(ask, planned.answers, sequence.cached_tokens, planned.serial)
            begin(perform(reply, planned.fault, 0.0, PACED_S if ask.stream else 0.0), reply)

        self._placed[begin] = planned
        driver.submit(sequence, ready, whole=not ask.stream)

    def leave_queue(self, begin: Begin) -> None:
        """Takes an answer out of the queue whose reader left before its turn came."""
        if begin in self._placed:
            self.release(begin)
        else:
            self._waiting = deque(each for each in self._waiting if each[0] is not begin)

    def release(self, begin: Begin) -> None:
        """Gives a place back, to the one that has waited longest."""
        planned = self._placed.pop(begin, None)
        if planned is not None and self.driver is not None:
            self.driver.leave(planned.sequence)
            return
        self._running -= 1
        if self._waiting:
            self._running += 1
            then, steps, reply = self._waiting.popleft()
            then(steps, reply)

    def _ask(self, seen: Seen, wire: Wire, model: str, method: str) -> tuple[list[Step], Reply]:
        body = _object(seen)
        if isinstance(wire, anthropic.Messages):
            version = body.get("anthropic_version") if method else seen.header(b"anthropic-version")
            if version is None:
                raise Refused(400, f"anthropic-version: {'a field' if method else 'header'} is required")
        if method:  # Google's addresses say both
            body |= {"model": model, "stream": gemini.PARTNERS.get(method, method == gemini.STREAM)}
        fault = self._orders.take(seen, body)
        if self.dead:
            fault = Fault("500")
        elif self.draining:
            fault = Fault("abort", after=0)
        refused = refusal(fault) if fault else None
        if refused is not None:
            raise refused
        if self.max_queued is not None and self.in_flight >= self.max_queued:
            self.metrics.rejections += 1
            raise Refused(503, "The request queue is full; try again later or on a different instance.")
        ask = wire.read(body)
        if fault is not None and fault.tokens is not None:
            ask = msgspec.structs.replace(ask, min_tokens=fault.tokens, max_tokens=fault.tokens)
        answers = [answer(ask, choice) for choice in range(ask.n)]
        if fault is not None and fault.kind in ("filter", "abort"):
            finish = "content_filter" if fault.kind == "filter" else "abort"
            answers = [ended(one, finish, fault.after) for one in answers]
        self._serial += 1
        if self.driver is not None and not isinstance(wire, anthropic.Messages):
            reply = wire.reply(ask, answers, 0, self._serial)
            hardware = self.driver.engine.hardware
            blocks = vllm_engine.blocks_of(ask.prompt, ask.salt, hardware.block_tokens)
            sequence = Sequence(reply, blocks, ask.input_tokens, max(1, reply.output_tokens))
            self._planned[id(reply)] = Planned(wire, ask, answers, fault, self._serial, sequence)
            return [], reply
        reply = wire.reply(ask, answers, self._cached(ask, wire), self._serial)
        return perform(reply, fault, self.ttft_s, self.tpot_s), reply

    def _media(self, seen: Seen, make: Callable[[dict[str, Json]], Reply]) -> tuple[list[Step], Reply]:
        content_type = (seen.header(b"content-type") or b"").decode("latin-1")
        is_form = content_type.startswith("multipart/form-data")
        body = form(seen.body, content_type) if is_form else _object(seen)
        fault = self._orders.take(seen, body)
        if fault is not None and (refused := refusal(fault)) is not None:
            raise refused
        if not body.get("model"):
            raise Refused(400, "you must provide a model parameter", param="model")
        reply = make(body)
        return perform(reply, fault, self.ttft_s, self.tpot_s), reply

    def _cached(self, ask: Ask, wire: Wire) -> int:
        """Returns how much of the prompt was cached: by blocks, or (Anthropic) up to the caller's mark."""
        if not isinstance(wire, anthropic.Messages):
            cached = self.cache.pass_through(ask.prompt, ask.salt)
            # OpenAI caches prompts from 1,024 tokens on, in steps of 128
            return cached if self.wire == "vllm" else (cached // 128 * 128 if cached >= 1024 else 0)
        if ask.marked is None:
            return 0
        known = ask.marked in self._marked
        self._marked[ask.marked] = None
        self._marked.move_to_end(ask.marked)
        while len(self._marked) > _MARKED_PREFIXES:
            self._marked.popitem(last=False)
        return count(ask.marked) if known else 0

    def _aside(self, seen: Seen, path: str) -> list[Step]:
        """Answers what is not a model's answer: lists, embeddings, health, metrics."""
        fault = self._orders.at(path)
        if fault is not None:
            if (refused := refusal(fault)) is not None:
                raise refused
            if fault.kind in ("hang", "reset", "close"):
                return [Step(0.0, end={"hang": End.HOLD, "reset": End.RST, "close": End.FIN}[fault.kind])]
        model, method = gemini.called(path) or ("", "")
        if method in gemini.EMBED and seen.method == "POST":
            body = {**_object(seen), "model": model}
            if (fault := self._orders.take(seen, body)) is not None and (refused := refusal(fault)) is not None:
                raise refused
            return _json(gemini.embeddings(body["model"], method, body))
        if path.endswith("/embeddings") and seen.method == "POST":
            body = _object(seen)
            if (fault := self._orders.take(seen, body)) is not None and (refused := refusal(fault)) is not None:
                raise refused
            return _json(openai.embeddings(body))
        if method == gemini.COUNT and seen.method == "POST":
            return _json(gemini.count_tokens(model, _object(seen)))
        if self.wire == "vllm" and path == "/tokenize" and seen.method == "POST":
            return _json(vllm.tokenize(_object(seen)))
        if (path.endswith("/messages/count_tokens") or model == gemini.COUNTER) and seen.method == "POST":
            return _json(anthropic.count_tokens(_object(seen)))
        if "/responses/" in path:
            return _json(self._responses.kept(seen.method, path))
        if seen.method != "GET":
            raise Refused(404, f"Invalid URL ({seen.method} {path})")
        if path.endswith("/models"):
            if seen.header(b"anthropic-version") is not None:
                return _json(anthropic.models(self.models))
            return _json((vllm if self.wire == "vllm" else openai).models(self.models))
        if self.wire == "vllm" and path == "/metrics":
            page = self.metrics.page(self.models[0], self._vitals())
            return plain(200, page, content_type="text/plain; version=0.0.4; charset=utf-8")
        if path in ("/health", "/ping"):
            return plain(503 if self.dead else 200, b"")
        if self.wire == "vllm" and path == "/version":
            return _json(msgspec.json.encode({"version": vllm.VERSION}))
        if self.wire == "vllm" and path == "/load":
            return _json(msgspec.json.encode({"server_load": self.in_flight}))
        raise Refused(404, f"Invalid URL ({seen.method} {path})")

    def _vitals(self) -> vllm.Vitals:
        """Returns the state that /metrics shows, of the modelled engine where there is one."""
        if self.driver is None:
            return vllm.Vitals(self._running, len(self._waiting), self.cache.share, self.born_at)
        engine = self.driver.engine
        return vllm.Vitals(
            engine.running,
            len(engine.waiting),
            engine.kv_usage,
            self.born_at,
            engine.steps,
            engine.preemptions,
            engine.hardware.block_tokens,
            engine.hardware.kv_tokens // engine.hardware.block_tokens,
        )

    def _refused(self, wire: Wire, refused: Refused) -> list[Step]:
        return plain(refused.status, wire.failure(refused), refused.headers)


async def serve(
    host: str,
    port: int,
    *,
    wire: Literal["openai", "vllm"] = "openai",
    ttft_s: float = 0.15,
    tpot_s: float = 0.015,
    hardware: Hardware | None = None,
) -> None:
    """Serves until cancelled: the body of `headgate simulate --listen`. Raises OSError where it cannot listen."""
    async with Simulator(host, port, wire=wire, ttft_s=ttft_s, tpot_s=tpot_s, hardware=hardware):
        await asyncio.Event().wait()


def _object(seen: Seen) -> dict[str, Json]:
    with suppress(msgspec.DecodeError):
        body = seen.json()
        if isinstance(body, dict):
            return body
    raise Refused(400, "We could not parse the JSON body of your request.")


def _json(body: bytes) -> list[Step]:
    return plain(200, body)
