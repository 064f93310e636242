"""Every recorded answer in every dialect, however the network cuts it, against an independent reading of it."""

from __future__ import annotations

import math
import os
import random
import struct
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from gateway.core.adapter import Decoder
from gateway.core.errors import UpstreamError
from tests.corpus import callers
from tests.corpus.lines import Answer, Record, answer_of, records
from tests.corpus.places import READERS, SPOKEN, Place, place_of, unspoken, wire_of
from tests.corpus.readers import gemini
from tests.corpus.reading import Reading, Said
from tests.corpus.schemas import problem
from tests.corpus.tally import Tally

pytestmark = pytest.mark.corpus

# A run of everything takes minutes: the usual one feeds byte by byte, and cuts, what fits into these bounds, drawn by
# the line's id and so the same in every run.
FULL = bool(os.environ.get("HEADGATE_CORPUS_FULL"))
BYTES_MAX = math.inf if FULL else 6_000
CUTS_MAX = math.inf if FULL else 24

# The recorder put two answers into one body: it can be passed on, but not be told as one.
TWO_ANSWERS = {"cerebras.chat.stream-af62200ebd"}


def answers() -> list[Any]:
    """Returns every line with an answer, or one that is skipped where the corpus is not there."""
    found = [pytest.param(line, id=line["id"]) for line in records() if line["response"]["status"] == 200]
    return found or [pytest.param(None, marks=pytest.mark.skip(reason="no ../shared/corpus here"))]


@pytest.mark.parametrize("record", answers())
def test_a_recorded_answer_says_the_same_in_every_dialect(record: Record, tally: Tally) -> None:
    wire = wire_of(record)
    if record["surface"].startswith("models"):
        tally.apart[record["id"]] = "a list of models"
        return
    if record["surface"] == "count_tokens" and record["provider"] != "anthropic":
        tally.apart[record["id"]] = "a count of tokens that is not asked for"
        return
    if record["provider"] == "portkey":
        tally.unlisted[record["id"]] = record["provider"]
        return
    if wire is None:
        tally.skip(record["id"], unspoken(record))
        return
    answer = answer_of(record)
    expected = settled(record, recorded(wire, answer))
    wrong = []
    for dialect in SPOKEN[wire][: 1 if record["id"] in TWO_ANSWERS else None]:
        place = place_of(record, wire, dialect, answer.streamed)
        if isinstance(place, str):
            tally.pending[f"{wire} for {dialect}"] = place
            continue
        tally.cover(record["id"], dialect)
        found = list(Proof(record, wire, answer, place, tally).differences(expected))
        wrong += [f"{record['id']} {dialect}: {difference}" for difference in found]
    assert not wrong, "\n".join(wrong)
    if record["id"] in tally.covered:
        tally.passed.add(record["id"])


def recorded(wire: str, answer: Answer) -> Reading:
    """Reads a recording with nothing of ours."""
    if answer.form == "array":
        return gemini.array(answer.raw)
    return READERS[wire].stream(answer.raw) if answer.streamed else READERS[wire].whole(answer.raw)


def settled(record: Record, reading: Reading) -> Reading:
    """Adds the finish that Snowflake leaves out or empty: usage comes last, with an answer that is whole."""
    if record["provider"] == "snowflake" and reading.counts is not None:
        for said in reading.choices.values():
            said.finish = said.finish or ("tool_calls" if said.calls else "stop")
        reading.ended = True
    return reading


class Proof:
    """What one line is held to in one dialect."""

    def __init__(self, record: Record, wire: str, answer: Answer, place: Place, tally: Tally) -> None:
        self.record = record
        self.answer = answer
        self.wire = wire
        self.place = place
        self.dialect = place.dialect.name
        self.relayed = wire == self.dialect
        self.tally = tally
        self.dice = random.Random(record["id"] + self.dialect)

    def decoder(self) -> Decoder:
        return self.place.decoder(self.answer.streamed)

    def run(self, reads: Iterable[bytes]) -> tuple[bytes, Decoder]:
        """Feeds reads and the end; raises what the decoder raises."""
        decoder = self.decoder()
        out = [piece for read in reads for piece in decoder.feed(read)]
        out += decoder.end()
        return b"".join(out), decoder

    def differences(self, expected: Reading) -> Iterator[str]:
        """Says what is not as it was recorded."""
        raw = self.answer.raw
        if expected.error or (not self.relayed and not expected.finished and not expected.vectors):
            yield from self._failed(expected)
            return
        try:
            out, decoder = self.run([raw])
        except UpstreamError as error:
            if any((said.finish or "?").startswith("?") for said in expected.choices.values()):
                return  # a finish that is none of ours may be an error
            yield f"raised {error.reason.value}: {error.message}"
            return
        yield from self._said(expected, out, decoder)
        yield from self._valid(out, expected)
        yield from self._ways(out)
        yield from self._cuts(out)

    # -- what it says --

    def _failed(self, expected: Reading) -> Iterator[str]:
        """An answer that holds an error, or has no end, must be one, and may not end cleanly before it."""
        decoder = self.decoder()
        out = b""
        try:
            for place in range(0, len(self.answer.raw), 100):
                out += b"".join(decoder.feed(self.answer.raw[place : place + 100]))
            out += b"".join(decoder.end())
        except UpstreamError:
            if self.answer.streamed and callers.ended(self.dialect, out):
                yield "a stream that failed ended cleanly"
            self.tally.done["failures raised"] += 1
            return
        got = callers.read(self.dialect, self.answer.streamed, out)
        if not self.relayed or self.answer.streamed or got.finished:
            yield f"an answer with {expected.error or 'no finish'} was taken for whole"

    def _said(self, expected: Reading, out: bytes, decoder: Decoder) -> Iterator[str]:
        got = settled(self.record, callers.read(self.dialect, self.answer.streamed, out))
        if expected.vectors and list(map(bits, got.vectors)) != list(map(bits, expected.vectors)):
            yield "other vectors"
        indices = sorted(expected.choices) if self.dialect in ("chat", "completions") else [0]
        if not expected.vectors and sorted(got.choices) != indices:
            yield f"choices {sorted(got.choices)}, recorded were {indices}"
        for index in indices if not expected.vectors else ():
            yield from self._choice(expected.choice(index), got.choice(index))
        if not got.ended:
            yield "the caller cannot tell that it is whole"
        if not decoder.complete:
            yield "the decoder does not know that it is complete"
        speaks = any(said.speaks for said in expected.choices.values())
        # Why an answer was refused is told beside its content, not in it: it may count as either.
        refused = any(said.finish == "content_filter" and not said.text for said in expected.choices.values())
        if expected.choices and speaks != decoder.started and not refused:
            yield f"started is {decoder.started}"
        if expected.choices:
            said = expected.choice(min(expected.choices))
            finish: str | None = said.finish or ""
            if self.relayed and self.record["provider"] == "snowflake":
                finish = None  # as it came
            elif finish and finish.startswith("?"):
                finish = decoder.finish
            if decoder.finish not in (*self._finishes(said), finish):
                yield f"the decoder's finish is {decoder.finish}, recorded was {finish}"
        yield from self._counted(expected, got, decoder)
        if decoder.dropped:
            yield f"{decoder.dropped} events were dropped"

    def _choice(self, said: Said, got: Said) -> Iterator[str]:
        if got.text not in self._texts(said):
            yield f"text {first_difference(said.text, got.text)}"
        if said.refusal not in got.text + got.refusal:
            yield f"refusal {first_difference(said.refusal, got.refusal)}"
        if got.reasoning != said.reasoning:
            yield f"reasoning {first_difference(said.reasoning, got.reasoning)}"
        if self.dialect != "responses" and sorted(got.images) != sorted(said.images):
            yield f"{len(got.images)} images, recorded were {len(said.images)}"
        if got.calls != said.calls:
            yield f"calls {got.calls}, recorded were {said.calls}"
        if self.relayed and got.signatures != said.signatures:
            yield "other signatures"
        known = not (said.finish or "").startswith("?")
        if got.finish not in self._finishes(said) and (known or not (got.finish or "").startswith("?")):
            yield f"finish {got.finish}, recorded was {said.finish}"

    def _texts(self, said: Said) -> tuple[str, ...]:
        """Returns the texts that say it: a refusal or audio is told as text where there is no place for it."""
        if self.relayed:
            return (said.text,)
        refused = said.text + said.refusal if self.dialect == "messages" else said.text
        return said.text, refused, said.text + said.transcript

    def _finishes(self, said: Said) -> tuple[str | None, ...]:
        """Returns the finishes that mean it."""
        finish = said.finish
        if finish is not None and finish.startswith("?"):
            return finish, "length", "content_filter", None
        if self.dialect == "responses" and finish in ("stop", "tool_calls"):
            return ("tool_calls",) if said.calls else ("stop",)  # its status is one for both
        if self.dialect == "responses" and finish == "content_filter" and said.refusal:
            return finish, "stop"  # a refusal is a part of an answer that is whole
        if self.dialect == "messages" and not self.relayed:
            if said.calls and finish == "stop":
                # OpenAI ends so where a call was forced; Anthropic ends every turn with calls as one with calls.
                return ("tool_calls",)
            if said.refusal and finish == "stop":
                return finish, "content_filter"
        return (finish,)

    def _counted(self, expected: Reading, got: Reading, decoder: Decoder) -> Iterator[str]:
        counts = expected.counts
        usage = decoder.usage
        if counts is None or (counts.into == counts.out == 0 and usage is None):
            if usage is not None and not usage.estimated and (usage.input_tokens or usage.output_tokens):
                yield f"usage {usage} out of nothing"
            return
        if usage is None:
            yield "no usage"
            return
        if counts.contradicts:
            if not usage.suspect:
                yield f"usage {counts} contradicts itself, and is not suspect"
            return
        told = (
            usage.input_tokens,
            usage.cached_input,
            usage.cache_write_5m + usage.cache_write_1h,
            usage.output_tokens,
            usage.reasoning,
        )
        if told != tuple(counts):
            yield f"usage {told}, recorded was {counts}"
        if got.counts is None:
            yield "the caller is told no usage"
        elif self.dialect == "messages":
            if got.counts[:4] != counts[:4]:
                yield f"the caller is told {got.counts}, recorded was {counts}"
        elif not self.relayed and got.counts != counts:
            yield f"the caller is told {got.counts}, recorded was {counts}"

    def _valid(self, out: bytes, expected: Reading) -> Iterator[str]:
        """Ours is valid as published; what is relayed is as valid as it came."""
        unknown = any((said.finish or "").startswith("?") for said in expected.choices.values())
        # Messages have no block for a picture that the model made: it comes as the one that requests have.
        pictured = self.dialect == "messages" and any(said.images for said in expected.choices.values())
        if not self.relayed:
            for found in callers.problems(self.dialect, self.answer.streamed, out):
                # An end that nobody else knows is told in the provider's own word, which no schema has.
                if not (unknown and ("finish_reason" in found or "stop_reason" in found)) and not pictured:
                    yield found
            self.tally.done["answers of ours valid"] += 1
            return
        name = callers.SCHEMAS.get((self.dialect, self.answer.streamed))
        if name is None:
            return
        came = callers.values(self.answer.streamed, self.answer.raw)
        before = {problem(name, value, published=False, strict=False) for value in came}
        for value in callers.values(self.answer.streamed, out):
            found = problem(name, value, published=False, strict=False)
            if found not in before:
                yield found or "valid, though it came as something else"

    # -- however it comes --

    def _ways(self, whole: bytes) -> Iterator[str]:
        raw = self.answer.raw
        ways = {"at random boundaries": [[*self._pieces(20)] for _ in range(3)]}
        if len(raw) <= BYTES_MAX:
            ways["byte by byte"] = [[raw[place : place + 1] for place in range(len(raw))]]
        else:
            # Bytes one by one over a window of it: every state that a read may end in is near.
            begin = self.dice.randrange(len(raw) - int(BYTES_MAX))
            end = begin + int(BYTES_MAX)
            ways["byte by byte"] = [
                [raw[:begin], *(raw[place : place + 1] for place in range(begin, end)), raw[end:]],
            ]
        for way, runs in ways.items():
            for reads in runs:
                out, _ = self.run(reads)
                self.tally.done[way] += 1
                if out != whole:
                    yield f"{way} it says something else {first_difference(whole.decode(), out.decode())}"

    def _pieces(self, count: int) -> Iterator[bytes]:
        raw = self.answer.raw
        edges = sorted({0, len(raw), *(self.dice.randrange(len(raw)) for _ in range(count))})
        for begin, end in pairwise(edges):
            yield raw[begin:end]

    def _cuts(self, whole: bytes) -> Iterator[str]:
        """A stream that is cut is no answer: it raises, unless its wire had already said that it was whole."""
        for at in self._places():
            prefix = self.answer.raw[:at]
            decoder = self.decoder()
            out = b""
            raised = False
            try:
                out = b"".join(decoder.feed(prefix))
                out += b"".join(decoder.end())
            except UpstreamError:
                raised = True
            self.tally.done["cuts"] += 1
            if not self.answer.streamed:
                if not raised and self._json(prefix) is None:
                    yield f"cut at byte {at} it was taken for whole"
                continue
            if raised:
                if callers.ended(self.dialect, out):
                    yield f"cut at byte {at} it ended cleanly before it raised"
                continue
            before = settled(self.record, recorded(self.wire, self.answer._replace(raw=prefix)))
            if not before.ended:
                yield f"cut at byte {at} it ended cleanly"
            elif list(
                self._choice(before.choice(), settled(self.record, callers.read(self.dialect, True, out)).choice())
            ):
                yield f"cut at byte {at} it says something else"

    def _json(self, raw: bytes) -> Any:
        try:
            return callers.values(False, raw)
        except ValueError:
            return None

    def _places(self) -> list[int]:
        """Returns where to cut: at every event and within it; of a long stream, a sample with both its ends."""
        raw = self.answer.raw
        if not self.answer.streamed:
            count = min(len(raw) - 1, CUTS_MAX // 3)
            return sorted(self.dice.sample(range(1, len(raw)), int(count)))
        ends = list(self.answer.ends[:-1])
        if len(ends) > CUTS_MAX:
            inner = self.dice.sample(ends[4:-12], int(CUTS_MAX) - 16)
            ends = [*ends[:4], *sorted(inner), *ends[-12:]]
        return [at for end in ends for at in (end, end - 7) if at > 0]


def bits(vector: list[float]) -> bytes:
    """Returns a vector as 32 bits hold each of its numbers."""
    return struct.pack(f"<{len(vector)}f", *vector)


def first_difference(expected: str, got: str) -> str:
    """Shows where two texts part."""
    at = next((place for place, (one, other) in enumerate(zip(expected, got, strict=False)) if one != other), None)
    if at is None:
        at = min(len(expected), len(got))
    return f"differs at {at}: {got[at : at + 60]!r}, expected {expected[at : at + 60]!r}"
