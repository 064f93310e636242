"""A conversation as Gemini's system instruction and contents, with the rules its API holds a history to.

Sources (2026-11): https://ai.google.dev/gemini-api/docs/function-calling (as many responses as calls, right after
them) and …/thought-signatures (each goes back on its own part; the first call of every step must have one from
Gemini 3 on).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE, Declarations
from adapters._documents import unfolded
from adapters._gemini_media import audio, document, image
from adapters._gemini_model import Model
from adapters._tool_calls import OpenCalls, arguments_of
from gateway.core.adapter import Fetched
from gateway.core.blocks import (
    Audio,
    Block,
    Conversation,
    Document,
    Image,
    Json,
    Message,
    Opaque,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from gateway.core.errors import BadRequest

# What Google says to send for a call that another model made, or that lost its signature
# (https://ai.google.dev/gemini-api/docs/thought-signatures#faqs, 2026-11).
NO_SIGNATURE: Final = "skip_thought_signature_validator"

_BLANK: Final = " "  # for a turn that must have a text and has none
_FOREIGN: Final = "reasoning, signatures and blocks that are not of this provider were left out"


def encode_turns(
    conversation: Conversation,
    names: Mapping[str, str],
    model: Model,
    provider: str,
    fetched: Fetched,
    declarations: Declarations,
) -> tuple[list[Json], list[Json]]:
    """Returns the parts of `systemInstruction` and `contents`; raises BadRequest naming the message."""
    turns = _Turns(names, model, provider, fetched, declarations)
    messages = conversation.messages
    start = 0
    while start < len(messages) and messages[start].role == "system":
        start += 1
    system = [part for turn in messages[:start] for part in _texts(turn)]
    if system and not model.system:
        turns.open_with(system)
        system = []
    for index in range(start, len(messages)):
        turn = messages[index]
        if turn.role == "assistant":
            turns.assistant(index, turn)
        elif turn.role == "user":
            turns.user(index, turn)
        else:
            turns.later_system(turn)
    return system, turns.whole(alone=bool(system))


def _texts(turn: Message) -> list[Json]:
    return [{"text": block.text} for block in turn.content if isinstance(block, Text) and block.text]


class _Turns:
    """The turns so far: whole ones, and the open one of either side."""

    def __init__(
        self, names: Mapping[str, str], model: Model, provider: str, fetched: Fetched, declarations: Declarations
    ) -> None:
        self._names = names
        self._model = model
        self._provider = provider
        self._fetched = fetched
        self._declarations = declarations
        self._contents: list[Json] = []
        self._responses: dict[int, Json] = {}  # of the open user turn, by the place of their call
        self._beside: list[Json] = []  # media of tools' results, for models that take none within them
        self._rest: list[Json] = []
        self._said: list[Json] = []  # the open model turn
        self._last = 0  # the caller's message that the open model turn ends with
        self._calls = 0
        self._open_calls: OpenCalls[tuple[int, str]] = OpenCalls()  # with their (place, name)

    def whole(self, alone: bool) -> list[Json]:
        """Closes the last turn and returns all of them; `alone`: there is a system instruction at least."""
        if self._said:
            self._open_calls.close(self._last)
            if not self._model.prefill:
                where = f"messages.{self._last}"
                raise BadRequest("the model does not go on from an assistant's message: end with a user's", param=where)
            self._close_model()
        else:
            self._close_user()
        if not self._contents:
            if not alone:
                raise BadRequest("there is no message with content", param="messages")
            self._contents.append({"role": "user", "parts": [{"text": _BLANK}]})
        return self._contents

    # -- the sides --

    def open_with(self, parts: list[Json]) -> None:
        self._rest.extend(parts)

    def later_system(self, turn: Message) -> None:
        """Says a later system message as the user, in its place: Gemini's instruction stands before all turns."""
        parts = _texts(turn)
        if parts:
            self._close_model()
            self._rest.extend(parts)

    def user(self, index: int, turn: Message) -> None:
        where = f"messages.{index}"
        if turn.name is not None:
            self._declarations.declare(f"{where}.name", "Gemini has no names of participants, left out")
        results = [block for block in turn.content if isinstance(block, ToolResult)]
        parts = [
            part
            for number, block in enumerate(turn.content)
            if not isinstance(block, ToolResult)
            for part in self._content(block, f"{where}.content.{number}")
        ]
        if results or parts:
            self._close_model()
        for result in results:
            self._respond(result, where)
        self._rest.extend(parts)

    def assistant(self, index: int, turn: Message) -> None:
        where = f"messages.{index}"
        spoken = [
            [] if isinstance(block, ToolCall) else self._spoken(block, f"{where}.content.{number}")
            for number, block in enumerate(turn.content)
        ]
        if not any(spoken) and not any(isinstance(block, ToolCall) for block in turn.content):
            return
        self._close_user()
        if not self._contents and not self._said:
            self._declarations.declare(where, "a conversation begins with the user, an empty turn was put before")
            self._contents.append({"role": "user", "parts": [{"text": _BLANK}]})
        self._last = index
        calls = 0
        for block, written in zip(turn.content, spoken, strict=True):
            self._said.extend(written)
            if isinstance(block, ToolCall):
                self._said.append(self._call(block, f"{where}.tool_calls.{calls}"))
                calls += 1

    # -- closing --

    def _close_user(self) -> None:
        if self._responses:
            self._open_calls.close(self._last)
            self._contents.append({"role": "user", "parts": [part for _, part in sorted(self._responses.items())]})
            self._responses = {}
        rest, self._beside, self._rest = self._beside + self._rest, [], []
        if rest:
            self._open_calls.close(self._last)
            # What stands beside responses goes as a turn of its own: so recorded clients send it.
            if not any("text" in part for part in rest):
                rest.append({"text": _BLANK})
            self._contents.append({"role": "user", "parts": rest})

    def _close_model(self) -> None:
        if self._said:
            self._contents.append({"role": "model", "parts": self._signed(self._said)})
            self._said = []

    def _signed(self, parts: list[Json]) -> list[Json]:
        """Sees to it that the first call of a step has a signature, where the model asks for one."""
        if self._model.signs_calls:
            first = next((part for part in parts if "functionCall" in part), None)
            if first is not None:
                first.setdefault("thoughtSignature", NO_SIGNATURE)
        return parts

    # -- tool calls and results --

    def _call(self, call: ToolCall, where: str) -> Json:
        if call.custom:
            raise BadRequest(f"{where}: Gemini has no custom tools", param=where)
        arguments = arguments_of(call, where)
        self._open_calls.add(call.id, (self._calls, call.name))
        self._calls += 1
        written: dict[str, Json] = {"name": self._names[call.name], "args": arguments}
        if call.id:
            written["id"] = call.id
        return self._with_signature({"functionCall": written}, call.signature, call.provider)

    def _respond(self, result: ToolResult, where: str) -> None:
        place, name = self._open_calls.answer(result.call_id, where)
        texts = []
        media = []
        for number, block in enumerate(result.content):
            if isinstance(block, Text):
                texts.append(block.text)
            else:
                media.extend(self._content(block, f"{where}.content.{number}"))
        written: dict[str, Json] = {"name": self._names[name], "response": _response(texts, result.is_error)}
        if result.call_id:
            written["id"] = result.call_id
        if media and self._model.media_results:
            written["parts"] = media
        else:
            self._beside.extend(media)
        self._responses[place] = {"functionResponse": written}

    # -- blocks --

    def _content(self, block: Block, where: str) -> list[Json]:
        """Writes what may stand in a user's turn or a tool's result."""
        if parts := unfolded(block, where, self._declarations):
            return [written for part in parts for written in self._content(part, where)]
        if isinstance(block, Text):
            return [{"text": block.text}] if block.text else []
        if isinstance(block, Image):
            return [image(block, self._fetched, where)]
        if isinstance(block, Document):
            return [document(block, self._fetched, where)]
        if isinstance(block, Audio):
            return [audio(block, where)]
        if isinstance(block, Opaque) and block.provider == self._provider:
            return [block.value]
        raise BadRequest(f"{where}: Gemini takes no {type(block).__name__} here", param=where)

    def _spoken(self, block: Block, where: str) -> list[Json]:
        """Writes what may stand in a model's turn; another provider's reasoning and blocks are left out."""
        if isinstance(block, Text):
            # A signature may have come after the last text: it goes back with an empty one.
            if not block.text and (block.signature is None or block.provider != self._provider):
                return []
            return [self._with_signature({"text": block.text}, block.signature, block.provider)]
        if isinstance(block, Refusal):
            return [{"text": block.text}] if block.text else []
        if isinstance(block, Thinking) and block.provider == self._provider:
            return [self._with_signature({"text": block.text, "thought": True}, block.signature, block.provider)]
        if isinstance(block, Opaque) and block.provider == self._provider:
            return [block.value]
        if isinstance(block, Image):
            part = image(block, self._fetched, where)
            return [{**part, "thoughtSignature": NO_SIGNATURE} if self._model.signs_calls else part]
        self._declarations.declare("messages", _FOREIGN)
        return []

    def _with_signature(self, part: dict[str, Json], signature: str | None, provider: str | None) -> dict[str, Json]:
        if signature is None:
            return part
        if provider != self._provider:
            self._declarations.declare("messages", _FOREIGN)
            return part
        part["thoughtSignature"] = signature
        return part


def _response(texts: list[str], is_error: bool) -> dict[str, Json]:
    """Returns a result as the object that the API wants: as it is where it is one, else under a name of Google's.

    `output` and `error` are those names (https://ai.google.dev/api/caching#FunctionResponse, 2026-11).
    """
    text = "".join(texts)
    if is_error:
        return {"error": text}
    try:
        value = msgspec.json.decode(text) if text.strip() else text
    except UNREADABLE:
        value = text
    return value if isinstance(value, dict) else {"output": value}
