"""What the simulator says: the same words for the same model, prompt and seed, in pieces that count as tokens."""

from __future__ import annotations

import re
from random import Random
from typing import Final

import msgspec

from gateway.core.blocks import Json
from gateway.simulator.schemas import example

BYTES_PER_TOKEN: Final = 4  # the rule of thumb for English text

_PIECE: Final = re.compile(r"\s*\S+\s*?")
_SUBJECTS: Final = ("The gate", "A quiet canal", "The keeper", "The morning water", "Each ditch", "The old mill")
_VERBS: Final = ("lifts", "measures", "follows", "divides", "remembers", "carries")
_OBJECTS: Final = ("the flow", "a narrow channel", "the lower fields", "what the river gives", "its own share")
_ENDINGS: Final = ("before noon.", "by right and by measure.", "without haste.", "as it was agreed.", "once more.")
_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789"


class Offered(msgspec.Struct, frozen=True):
    """A tool that the caller offers."""

    name: str
    schema: Json


class Ask(msgspec.Struct, frozen=True):
    """A request, free of its wire.

    `prompt` is all text that went in, in order; `last` the last turn's where a user said it. `tool_mode` is auto,
    none, required, or tool with `tool_name`. `min_tokens` lengthens the answer. `schema` must be satisfied by the
    answer (`{}` is any object). `marked` is the part of the prompt up to the caller's last cache marker. `salt`
    keeps its cached blocks apart. `usage_each`: each chunk tells of usage (vLLM's).
    """

    model: str
    prompt: str
    last: str = ""
    extra_input_tokens: int = 0
    seed: int = 0
    stream: bool = False
    include_usage: bool = False
    usage_each: bool = False
    max_tokens: int | None = None
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    n: int = 1
    tools: tuple[Offered, ...] = ()
    tool_mode: str = "auto"
    tool_name: str | None = None
    parallel: bool = True
    schema: Json | None = None
    thinking: bool = False
    logprobs: bool = False
    marked: str | None = None
    salt: str = ""

    @property
    def input_tokens(self) -> int:
        """Tokens of the prompt by its size; at least one."""
        return max(1, count(self.prompt) + self.extra_input_tokens)


class CalledTool(msgspec.Struct, frozen=True):
    """A tool call of an answer; `key` is what wires make ids of."""

    key: str
    name: str
    pieces: tuple[str, ...]


class Answer(msgspec.Struct, frozen=True):
    """An answer, free of its wire; each piece counts as one token. `finish`: stop, length, tool_calls or a fault's."""

    thinking: tuple[str, ...]
    pieces: tuple[str, ...]
    calls: tuple[CalledTool, ...]
    finish: str
    stop_sequence: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def output_tokens(self) -> int:
        return len(self.thinking) + len(self.pieces) + sum(len(call.pieces) for call in self.calls)


def count(text: str) -> int:
    """Estimates the tokens of a text by its bytes, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def answer(ask: Ask, choice: int = 0) -> Answer:
    """Returns the answer that this model gives to this prompt and seed; `choice` counts the answers of one call."""
    draw = Random(f"{ask.model}\0{ask.seed + choice}\0{ask.prompt}")
    thinking = _pieces(_sentences(draw, 12)) if ask.thinking else ()
    wanted = _wanted_tools(ask)
    calls = tuple(CalledTool(key(draw, 24), tool.name, _chunks(_json(example(tool.schema, draw)))) for tool in wanted)
    stop_sequence = None
    if calls:
        pieces: tuple[str, ...] = ()
        # OpenAI ends a forced, named call with "stop", not with "tool_calls"
        finish = "stop" if ask.tool_mode == "tool" else "tool_calls"
    elif ask.schema is not None:
        pieces = _chunks(_json(example({"type": "object", **ask.schema}, draw) if ask.schema else {"answer": "river"}))
        finish = "stop"
    else:
        text = f"I am a simulator standing in for {ask.model}; no model has read this prompt."
        text += " " + _sentences(draw, max(draw.randint(8, 48), ask.min_tokens - 13))
        text, stop_sequence = _stopped(text, ask.stop)
        pieces = _pieces(text)
        if ask.min_tokens == ask.max_tokens and ask.min_tokens:
            pieces = pieces[: ask.min_tokens]
        finish = "stop"
    return _limited(Answer(thinking, pieces, calls, finish, stop_sequence), ask.max_tokens)


def key(draw: Random, length: int) -> str:
    """Returns letters and digits as providers put them in ids."""
    return "".join(draw.choices(_LETTERS, k=length))


def ended(whole: Answer, finish: str, after: int) -> Answer:
    """Returns the answer broken off with `finish` after `after` pieces of text."""
    return Answer((), whole.pieces[:after], (), finish)


def _wanted_tools(ask: Ask) -> tuple[Offered, ...]:
    """Picks the tools to call: those forced, else those that the last turn of a user speaks of."""
    if not ask.tools or ask.tool_mode == "none":
        return ()
    if ask.tool_mode == "tool":
        return tuple(tool for tool in ask.tools if tool.name == ask.tool_name)[:1]
    said = ask.last.lower()
    named = tuple(
        tool for tool in ask.tools if tool.name.lower() in said or tool.name.lower().replace("_", " ") in said
    )
    if not named and (ask.tool_mode == "required" or "tool" in said.split()):
        named = ask.tools[:1]
    return named if ask.parallel else named[:1]


def _limited(whole: Answer, max_tokens: int | None) -> Answer:
    """Cuts an answer at `max_tokens`, thinking first, then text, then tool calls."""
    if max_tokens is None or whole.output_tokens <= max_tokens:
        return whole
    left = max_tokens
    thinking = whole.thinking[:left]
    left -= len(thinking)
    pieces = whole.pieces[:left]
    left -= len(pieces)
    calls = []
    for call in whole.calls:
        if left <= 0:
            break
        calls.append(CalledTool(call.key, call.name, call.pieces[:left]))
        left -= len(call.pieces)
    return Answer(thinking, pieces, tuple(calls), "length")


def _sentences(draw: Random, words: int) -> str:
    said: list[str] = []
    length = 0
    while length < words:
        sentence = " ".join(draw.choice(part) for part in (_SUBJECTS, _VERBS, _OBJECTS, _ENDINGS))
        said.append(sentence)
        length += sentence.count(" ") + 1
    return " ".join(said)


def _stopped(text: str, stops: tuple[str, ...]) -> tuple[str, str | None]:
    found = [(position, stop) for stop in stops if stop and (position := text.find(stop)) >= 0]
    if not found:
        return text, None
    position, stop = min(found)
    return text[:position], stop


def _pieces(text: str) -> tuple[str, ...]:
    return tuple(_PIECE.findall(text.rstrip())) if text.strip() else ()


def _chunks(text: str) -> tuple[str, ...]:
    return tuple(text[at : at + BYTES_PER_TOKEN] for at in range(0, len(text), BYTES_PER_TOKEN))


def _json(value: Json) -> str:
    return msgspec.json.encode(value).decode()
