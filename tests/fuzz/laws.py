"""What holds of a decoder and of a reader of requests, whatever they are fed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import msgspec

from gateway.core.errors import BadRequest, CallError, UpstreamError
from gateway.wiring.kinds import DIALECTS, WIRES
from tests.corpus import callers
from tests.corpus.lines import Answer, answer_of, records
from tests.corpus.places import READERS, SPOKEN, Place, adapter, deployment_of, place_of, wire_of
from tests.corpus.readers import gemini
from tests.fuzz.mutations import Mutator

# What a decoder may say and hold for each byte it is fed: an event of three bytes of text grows by its frame.
GROWTH_MAX = 40
GROWTH_FREE = 200_000


class Broken(AssertionError):
    """A law did not hold; `data` is what was fed."""

    def __init__(self, what: str, data: bytes) -> None:
        super().__init__(f"{what}; fed {data[:200]!r}{'…' if len(data) > 200 else ''}")
        self.data = data


class Subject(NamedTuple):
    """A decoder: how a provider's answers of one wire and form reach callers of one dialect."""

    wire: str
    dialect: str
    streamed: bool
    place: Place
    answers: tuple[Answer, ...]

    def __str__(self) -> str:
        return f"{self.wire} -> {self.dialect}{' streamed' if self.streamed else ''}"

    def attempt(self, dice: random.Random) -> int:
        """Feeds one mutated answer in random reads, and holds what comes out to the laws; returns how much was fed."""
        answer, other = dice.choice(self.answers), dice.choice(self.answers)
        data = Mutator(dice).mutate(answer.raw, other.raw, answer.form)
        self.feed(data, dice)
        if self.streamed and dice.random() < 0.2:
            self.cut(answer, dice)
        return len(data)

    def feed(self, data: bytes, dice: random.Random) -> None:
        decoder = self.place.decoder(self.streamed)
        out = b""
        failed = False
        edges = sorted({0, len(data), *(dice.randrange(len(data) + 1) for _ in range(dice.choice((0, 1, 5, 30))))})
        try:
            for begin, end in pairwise(edges):
                out += b"".join(decoder.feed(data[begin:end]))
            out += b"".join(decoder.end())
        except UpstreamError:
            failed = True
        except Exception as error:
            raise Broken(f"{self} raised {error!r}", data) from error
        if len(out) > GROWTH_FREE + GROWTH_MAX * len(data):
            raise Broken(f"{self} made {len(out):,} bytes of {len(data):,}", data)
        if self.wire == self.dialect or self.dialect in ("embeddings", "rerank"):
            return  # a relay passes on what comes
        try:
            if failed:
                if self.streamed and callers.ended(self.dialect, out):
                    raise Broken(f"{self} ended cleanly, and failed", data)
            else:
                self._readable(out)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise Broken(f"{self} wrote what no caller can read: {error!r}", data) from error

    def _readable(self, out: bytes) -> None:
        """What ended without an error is an answer that its callers can read, with an end."""
        if self.streamed and not callers.ended(self.dialect, out):
            raise ValueError("it has no end")
        callers.read(self.dialect, self.streamed, out)

    def cut(self, answer: Answer, dice: random.Random) -> None:
        """A recorded stream cut anywhere fails, unless its own wire had said by then that it was whole."""
        at = dice.randrange(len(answer.raw))
        prefix = answer.raw[:at]
        decoder = self.place.decoder(True)
        try:
            out = b"".join(decoder.feed(prefix)) + b"".join(decoder.end())
        except UpstreamError:
            return
        read = gemini.array if answer.form == "array" else READERS[self.wire].stream
        if not read(prefix).ended and callers.ended(self.dialect, out):
            raise Broken(f"{self} ended a stream cleanly that was cut at byte {at}", prefix)


@cache
def subjects() -> tuple[Subject, ...]:
    """Returns every decoder that the corpus has answers for."""
    return tuple(_subjects())


def _subjects() -> Iterator[Subject]:
    found: dict[tuple[str, str, bool], tuple[Place, list[Answer]]] = {}
    for record in records():
        wire = wire_of(record)
        if wire is None or record["response"]["status"] != 200 or record["provider"] == "snowflake":
            continue
        answer = answer_of(record)
        for dialect in SPOKEN[wire]:
            key = (wire, dialect, answer.streamed)
            if key not in found:
                place = place_of(record, wire, dialect, answer.streamed)
                if isinstance(place, str):
                    continue
                found[key] = place, []
            found[key][1].append(answer)
    for (wire, dialect, streamed), (place, answers) in sorted(found.items(), key=lambda item: item[0]):
        yield Subject(wire, dialect, streamed, place, tuple(answers))


# -- requests -----------------------------------------------------------------------------------------------------

TARGETS = (
    ("openai", "gpt-5"),
    ("openai_compatible", "m"),
    ("mistral", "mistral-large-latest"),
    ("anthropic", "claude-sonnet-4-5"),
    ("gemini", "gemini-3-pro-preview"),
    ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("cohere", "command-a-03-2025"),
    ("ollama_native", "qwen3"),
)


class Requests(NamedTuple):
    """A dialect's reader of requests, and every provider's writer behind it."""

    dialect: str
    bodies: tuple[bytes, ...]

    def __str__(self) -> str:
        return f"requests of {self.dialect}"

    def attempt(self, dice: random.Random) -> int:
        mutator = Mutator(dice)
        body = dice.choice(self.bodies)
        data = body
        for _ in range(dice.choice((1, 1, 2, 4))):
            data = mutator.document(data) or data
        if dice.random() < 0.2:
            data = mutator.mutate(data, body, "json")
        self.feed(data, dice)
        return len(data)

    def feed(self, data: bytes, dice: random.Random) -> None:
        dialect = DIALECTS[self.dialect]
        kind, model = dice.choice([target for target in TARGETS if target[0] in WIRES])
        try:
            call = dialect.parse("call-1", data, (), 1)
            call = msgspec.structs.replace(call, strict=dice.random() < 0.2)
            place, deployment = adapter(kind), deployment_of(kind, model)
            fetched = {each.url: ("image/png", b"\x89PNG\r\n\x1a\n") for each in place.needs(call, deployment)}
            sent = place.encode(call, deployment, dialect, fetched)
            json.loads(sent.body)
        except BadRequest as refused:
            if len(refused.message) > 5_000:
                raise Broken(f"{self} to {kind}: a message of {len(refused.message)} characters", data) from refused
        except CallError:
            pass
        except Exception as error:
            raise Broken(f"{self} to {kind} raised {error!r}", data) from error


@cache
def requests() -> tuple[Requests, ...]:
    """Returns the readers of requests that the corpus has requests for."""
    bodies: dict[str, list[bytes]] = {}
    for record in records():
        body = record["request"].get("body")
        wire = wire_of(record)
        if isinstance(body, dict) and wire in DIALECTS:
            bodies.setdefault(wire, []).append(json.dumps(body).encode())
    return tuple(Requests(dialect, tuple(found)) for dialect, found in sorted(bodies.items()))
